/** How much the network's output cares about its inner values: squared gradients from one backward pass, without labels. */
import { checkAbort, required, type Context } from '../../core/index.js';
import { type Batch } from '../../engine/index.js';
import { type Model } from '../../onnx/index.js';
import { tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { drawDirections, floatOutputs, openBackward, shapeOf } from './backward.js';

/**
 * Mean squared gradient of the output's loss by each element of some values, over the samples (axis 0 is averaged away).
 *
 * From a probe d with E[dd′] = F (`lossProbe`), the gradient ∇ of d·z has E[∇∇′] = J′FJ: at the float network the diagonal
 * of the loss's Hessian by the value, which is what an error there costs (BRECQ, arXiv 2102.05426, eq. 10). Every float
 * output of the network takes part. Batches shaped unlike the first are left out.
 *
 * @param names values of the main graph that the outputs depend on
 * @throws FxqError E_OPSET below opset 18, E_UNSUPPORTED naming operator and node where there is no gradient rule
 */
export async function squaredGradients(
  model: Model,
  names: readonly string[],
  batches: readonly Batch[],
  ctx: Pick<Context, 'rng' | 'threads' | 'signal'>,
): Promise<Map<string, Tensor>> {
  const first = required(batches[0], 'a batch');
  const alike = batches.filter((b) => shapeOf(b) === shapeOf(first));
  const references = await floatOutputs(model, alike, ctx);
  const program = await openBackward(model, names, first, required(references[0], 'outputs'), (p, g) =>
    p.reduceSum(p.square(g), [0]),
  );
  const rng = ctx.rng.fork('importance');
  const sums = new Map<string, Float64Array>();
  const dims = new Map<string, readonly number[]>();
  let samples = 0;
  try {
    for (const [b, { inputs, count }] of alike.entries()) {
      checkAbort(ctx);
      const directions = drawDirections(required(references[b], 'outputs'), rng);
      const results = await program.run({ ...Object.fromEntries(inputs), ...directions });
      names.forEach((name, i) => {
        const t = required(results[i], name);
        const sum = sums.get(name) ?? new Float64Array(t.data.length);
        toFloat32(t).forEach((g, e) => (sum[e] = (sum[e] as number) + g));
        sums.set(name, sum);
        dims.set(name, t.dims);
      });
      samples += count;
    }
  } finally {
    await program.release();
  }
  return new Map(
    [...sums].map(([name, sum]) => [
      name,
      tensor(
        'float32',
        dims.get(name) ?? [],
        Float32Array.from(sum, (g) => g / samples),
      ),
    ]),
  );
}
