/** Weights rounded to nearest, within what processors and accumulators can hold. */
import { FxqError, type Context, type Note } from '../core/index.js';
import { fitAccumulators, isIntegerForm } from '../emit/index.js';
import { opsetOf, type Model } from '../onnx/index.js';
import { type Plan, type SolvedWeight } from '../plan/index.js';
import {
  findSaturation,
  roundToNearest,
  scalesWithoutSaturation,
  type SaturationRisk,
} from '../solve/index.js';
import { type CalibratedPlan } from './calibrate-plan.js';
import { type LoadedModel } from './load-model.js';
import { type QuantizeRequest } from './quantize-request.js';

export interface RoundedPlan {
  readonly plan: Plan;
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly saturation: readonly SaturationRisk[];
}

/** Codes for all weights; channels that could saturate get a coarser grid when that is asked for. */
export function roundWeights(
  model: Model,
  { plan, choice }: CalibratedPlan,
  request: QuantizeRequest,
  ctx: Context,
): RoundedPlan {
  const progress = ctx.start('Rounding weights');
  const weights = roundToNearest(model.graph, plan, choice.weightRange, ctx.seed);
  // The integer forms store weights so that no processor saturates.
  const saturation = isIntegerForm(request.emit) ? [] : findSaturation(model.graph, plan, weights);
  progress.finish(`Rounded ${weights.size} weights`);
  if (saturation.length === 0 || !request.avoidSaturation) {
    if (saturation.length > 0) ctx.note(saturationNote(saturation));
    return { plan, weights, saturation };
  }
  const guarded = { ...plan.weights };
  for (const risk of saturation) {
    const weight = guarded[risk.initializer];
    const codes = weights.get(risk.initializer);
    if (weight === undefined || codes === undefined) continue;
    const known = weight.minimumScale ?? [];
    const minimumScale = scalesWithoutSaturation(risk, codes).map((scale, c) =>
      Math.max(scale, known[c] ?? 0),
    );
    guarded[risk.initializer] = { ...weight, minimumScale };
  }
  const safer = { ...plan, weights: guarded };
  const rounded = roundToNearest(model.graph, safer, choice.weightRange, ctx.seed);
  return { plan: safer, weights: rounded, saturation: findSaturation(model.graph, safer, rounded) };
}

/**
 * Coarser weights where sums would need more bits than asked for.
 *
 * @throws FxqError E_USAGE for a form without accumulators of its own
 */
export async function fitWidths(
  { model, types }: LoadedModel,
  rounded: RoundedPlan,
  { choice }: CalibratedPlan,
  { accumulator, emit }: QuantizeRequest,
  ctx: Context,
): Promise<RoundedPlan> {
  if (accumulator === undefined) return rounded;
  if (!isIntegerForm(emit)) {
    throw new FxqError(
      'E_USAGE',
      `a width of accumulators is asked for, but the form ${emit} leaves them to the runtime`,
      'Choose --emit integer or cpp.',
    );
  }
  const input = {
    graph: model.graph,
    types,
    opset: opsetOf(model),
    plan: rounded.plan,
    solved: rounded.weights,
  };
  const fitted = await fitAccumulators(input, accumulator, (plan) =>
    roundToNearest(model.graph, plan, choice.weightRange, ctx.seed),
  );
  if (fitted.narrowed.size > 0) {
    const layers = [...fitted.narrowed].map(([node, channels]) => `${node} (${channels})`).join(', ');
    const message = `weights got coarser to keep sums within ${accumulator} bits; channels: ${layers}`;
    ctx.note({ level: 'info', code: 'accumulator', message });
  }
  return { ...rounded, plan: fitted.plan, weights: fitted.solved };
}

function saturationNote(risks: readonly SaturationRisk[]): Note {
  const channels = risks.reduce((sum, risk) => sum + risk.channels.length, 0);
  return {
    level: 'warn',
    code: 'saturation',
    message:
      `on processors without VNNI, ${channels} output channels of ${risks.length} layers can saturate 16-bit sums ` +
      '(results there may differ); --avoid-saturation takes one bit from these channels',
  };
}
