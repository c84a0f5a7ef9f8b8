/** Evidence about number formats that only the written model can give: shifts and additions, QDQ against integers. */
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { emitQdq, isIntegerForm, type Form, type SolvedWeights } from '../emit/index.js';
import { readAll } from '../engine/index.js';
import { countShiftAdds, type PotVariant } from '../formats/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { type Plan } from '../plan/index.js';
import { type DifferenceEvidence, type FormatEvidence, type ShiftAddEvidence } from '../report/index.js';
import { toFloat32 } from '../tensor/index.js';
import { hasQdqForm, runModel, type Outputs } from './output-quality.js';

/** Samples on which the forms are compared, and of one run. */
const COMPARED = 64;
const BATCH = 16;

/** A model as it will be written, with what it was made from. */
export interface Written {
  /** Prepared float model with the biases in use. */
  readonly source: Model;
  readonly plan: Plan;
  readonly solved: SolvedWeights;
  readonly emit: Form;
  readonly model: Model;
}

/** Evidence about a written model; what does not apply is absent. */
export async function formatEvidence(
  written: Written,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<Pick<FormatEvidence, 'shiftAdds' | 'differences'>> {
  const shiftAdds = shiftAddsOf(written.plan, written.solved);
  const differences =
    isIntegerForm(written.emit) && spec !== undefined ? await differencesOf(written, spec, ctx) : undefined;
  return {
    ...(shiftAdds.length === 0 ? {} : { shiftAdds }),
    ...(differences === undefined ? {} : { differences }),
  };
}

function shiftAddsOf(plan: Plan, solved: SolvedWeights): ShiftAddEvidence[] {
  return Object.entries(plan.weights).flatMap(([tensor, { format }]) => {
    const variant = /^pot\d+([kt])/.exec(format)?.[1] as PotVariant | undefined;
    const codes = solved.get(tensor)?.codes;
    return variant === undefined || codes === undefined
      ? []
      : [{ tensor, format, ...countShiftAdds(codes, variant) }];
  });
}

/** Runs both forms on the first calibration samples. */
async function differencesOf(
  { source, plan, solved, model }: Written,
  spec: DataSpec,
  ctx: Context,
): Promise<DifferenceEvidence | undefined> {
  const withoutForm = (message: string): undefined => {
    ctx.note({ level: 'info', code: 'no-qdq-form', message });
    return undefined;
  };
  if (!hasQdqForm(plan))
    return withoutForm(
      'QDQ has no operator for these activation formats, so there is no QDQ form to compare with',
    );
  const data = await openDataSet(spec, feedInputs(source.graph), { ...ctx, note: () => undefined });
  const batches = await readAll(data.batches(BATCH, 0, Math.min(COMPARED, data.samples)));
  const integer = await runModel(model, batches, data.carry, ctx);
  const simulated = emitQdq(source, plan, solved);
  const qdq = await runModel(simulated, batches, data.carry, ctx).catch((error: unknown) => {
    // The runtime's optimizer breaks some QDQ graphs, with grids narrower than 8 bits around Reshape for example.
    if (!(error instanceof FxqError) || error.code !== 'E_RUNTIME') throw error;
    return withoutForm(`onnxruntime cannot run the QDQ form of this plan: ${error.message}`);
  });
  if (qdq === undefined) return undefined;
  return { samples: batches.reduce((sum, b) => sum + b.count, 0), ...count(integer, qdq, plan) };
}

function count(a: Outputs, b: Outputs, plan: Plan): Omit<DifferenceEvidence, 'samples'> {
  let [values, differing, largestStep] = [0, 0, 0];
  a.forEach((batch, i) => {
    for (const [name, t] of batch) {
      const other = b[i]?.get(name);
      if (other === undefined) throw new FxqError('E_INTERNAL', `internal: output '${name}' is missing`);
      const [x, y] = [toFloat32(t), toFloat32(other)];
      const step = plan.activations[name]?.scale[0];
      values += x.length;
      x.forEach((v, k) => {
        if (Object.is(v, y[k])) return;
        differing++;
        if (step !== undefined)
          largestStep = Math.max(largestStep, Math.round(Math.abs(v - (y[k] ?? 0)) / step));
      });
    }
  });
  return { values, differing, largestStep };
}
