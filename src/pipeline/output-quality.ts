/** How close a candidate's outputs come to the float model's on given samples. */
import { required, type Context } from '../core/index.js';
import { emitInteger, emitQdq, type SolvedWeights } from '../emit/index.js';
import { createRunner, openSession, type Batch, type Session } from '../engine/index.js';
import { parseFormat } from '../formats/index.js';
import { type Model } from '../onnx/index.js';
import { type Plan } from '../plan/index.js';
import { errorSums, sqnr, toFloat32, type Tensor } from '../tensor/index.js';
import { type LoadedModel } from './load-model.js';

/** dB that count as exact, so that one untouched output does not decide. */
const CEILING = 100;

export type Outputs = readonly ReadonlyMap<string, Tensor>[];

/** Whether QuantizeLinear or Cast can make the codes of all activations of a plan. */
export function hasQdqForm({ activations }: Plan): boolean {
  return Object.values(activations).every(({ format }) => ['qdq', 'cast'].includes(parseFormat(format).onnx));
}

/**
 * A plan as a model to measure: QDQ, or integers where QDQ lacks the rounding mode or width of a format.
 *
 * @param asIntegers in integers in any case
 */
export async function simulate(
  { model, types }: Pick<LoadedModel, 'model' | 'types'>,
  plan: Plan,
  weights: SolvedWeights,
  asIntegers = false,
): Promise<Model> {
  return hasQdqForm(plan) && !asIntegers
    ? emitQdq(model, plan, weights)
    : (await emitInteger(model, plan, weights, types)).model;
}

/** Every floating-point output of every batch. */
export async function runModel(
  model: Model,
  batches: readonly Batch[],
  carry: ReadonlyMap<string, string>,
  ctx: Context,
): Promise<Outputs> {
  const session = await openSession(model, { threads: ctx.threads });
  try {
    return await runAll(session, batches, carry);
  } finally {
    await session.release();
  }
}

async function runAll(
  session: Session,
  batches: readonly Batch[],
  carry: ReadonlyMap<string, string>,
): Promise<Outputs> {
  const names = session.outputs.filter((o) => o.dtype === 'float32').map((o) => o.name);
  const runner = createRunner(session, carry);
  const results: ReadonlyMap<string, Tensor>[] = [];
  for (const { inputs } of batches) results.push(await runner.run(inputs, names));
  return results;
}

/** Mean over the outputs of the signal-to-noise ratio, dB. */
export function meanSqnr(reference: Outputs, outputs: Outputs): number {
  const names = [...(reference[0]?.keys() ?? [])];
  const each = names.map((name) => {
    const total = reference.reduce(
      (sums, batch, i) =>
        errorSums(
          toFloat32(required(batch.get(name), name)),
          toFloat32(required(outputs[i]?.get(name), name)),
          sums,
        ),
      errorSums([], []),
    );
    return Math.min(sqnr(total), CEILING);
  });
  return each.reduce((a, b) => a + b, 0) / Math.max(each.length, 1);
}
