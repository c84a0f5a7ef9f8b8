/** Ranges, scales and zero points of a plan's activations. */
import { FxqError, type Context } from '../../core/index.js';
import { parametersForRange, parseFormat, type NumberFormat } from '../../formats/index.js';
import { type ActivationQuantization, type Plan } from '../../plan/index.js';
import { mergeSketches } from '../sketch.js';
import { type Statistics, type TensorStatistics } from '../statistics.js';
import { checkRangeSettings, chooseRange, type Range, type RangeSettings } from './range.js';

/**
 * The plan with a range, scale and zero point for every activation. Activations tied together share one range, chosen
 * from the sketch of all of them; a range that is given, or that layers have chosen, stands.
 *
 * @throws FxqError E_STATISTICS when a value was not calibrated or never seen
 */
export function assignRanges(
  plan: Plan,
  statistics: Statistics,
  settings: RangeSettings,
  ctx: Context,
): Plan {
  checkRangeSettings(settings);
  const ties = new Map<string, ActivationQuantization[]>();
  for (const activation of Object.values(plan.activations))
    ties.set(activation.tie, [...(ties.get(activation.tie) ?? []), activation]);
  const chosen = new Map([...ties].map(([tie, members]) => [tie, parameters(members, statistics, settings)]));
  const activations = Object.fromEntries(
    Object.entries(plan.activations).map(([id, activation]) => [
      id,
      { ...activation, ...chosen.get(activation.tie) },
    ]),
  );
  noteSynthetic(statistics, ctx);
  return { ...plan, activations };
}

type Parameters = Pick<ActivationQuantization, 'scale' | 'zeroPoint' | 'range'>;

function parameters(
  members: readonly ActivationQuantization[],
  statistics: Statistics,
  settings: RangeSettings,
): Parameters {
  const [first] = members;
  if (first === undefined) return { scale: [], zeroPoint: [] };
  const format = parseFormat(first.format);
  const symmetric = isSymmetric(format);
  const given = members.map((m) => m.range).find((r) => r?.method === 'given' || r?.method === 'layer-error');
  const softmaxOnly = members.every((m) => m.softmaxOnly);
  const range: Range =
    given ?? chooseRange(sketchOf(members, statistics), settings, { format, symmetric, softmaxOnly });
  const { scale, zeroPoint } = parametersForRange(format, range, { symmetric });
  return { scale: [scale], zeroPoint: [zeroPoint], range };
}

/** A grid with as many codes above zero as below has its zero point in the middle, as has one that knows no other. */
function isSymmetric(format: NumberFormat): boolean {
  return !format.affine || format.low === -format.high;
}

/** What all members of a tie saw together. */
export function sketchOf(
  members: readonly ActivationQuantization[],
  statistics: Statistics,
): TensorStatistics {
  const values = [...new Set(members.filter((m) => !m.moved).map((m) => m.value))];
  const sketches = values.map((value) => {
    const sketch = statistics.tensors.get(value);
    if (sketch !== undefined) return sketch;
    throw new FxqError(
      'E_STATISTICS',
      `there are no statistics of value '${value}'`,
      'Calibrate again for this plan.',
    );
  });
  return sketches.length === 1 && sketches[0] !== undefined
    ? sketches[0]
    : mergeSketches(sketches, values.join(' + '));
}

function noteSynthetic({ synthetic }: Statistics, ctx: Context): void {
  if (!synthetic) return;
  ctx.note({
    level: 'warn',
    code: 'calibration-synthetic',
    message:
      'ranges come from synthetic data (random numbers or fxq synthesize) and may be far from those of real inputs',
  });
}
