/** How much the network's output cares about its inner values: squared gradients from one backward pass, without labels. */
import { checkAbort, required, type Context } from '../../core/index.js';
import { inferValueTypes, openSession, type Batch } from '../../engine/index.js';
import { value, withGraph, type Model } from '../../onnx/index.js';
import { createProgram, gradients, inlineModel, openProgram, type Value } from '../../program/index.js';
import { tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { chooseLoss, lossProbe } from './output-loss.js';

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
  const shapeOf = ({ inputs }: Batch): string =>
    [...inputs].map(([name, t]) => `${name}[${t.dims.join()}]`).join();
  const first = required(batches[0], 'a batch');
  const alike = batches.filter((b) => shapeOf(b) === shapeOf(first));
  const references = await floatOutputs(model, alike, ctx);
  const program = await openBackward(model, names, first, required(references[0], 'outputs'));
  const rng = ctx.rng.fork('importance');
  const sums = new Map<string, Float64Array>();
  const dims = new Map<string, readonly number[]>();
  let samples = 0;
  try {
    for (const [b, { inputs, count }] of alike.entries()) {
      checkAbort(ctx);
      const feeds: Record<string, Tensor> = Object.fromEntries(inputs);
      for (const [name, reference] of required(references[b], 'outputs'))
        feeds[directionOf(name)] = lossProbe(chooseLoss(reference), reference, rng);
      const results = await program.run(feeds);
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

/** The input through which an output gets its direction. */
function directionOf(output: string): string {
  return `fxq:direction of ${output}`;
}

/** The float outputs of every batch. */
async function floatOutputs(
  model: Model,
  batches: readonly Batch[],
  { threads }: Pick<Context, 'threads'>,
): Promise<Map<string, Tensor>[]> {
  const session = await openSession(model, { threads });
  const own = new Set(model.graph.outputs.map((o) => o.name));
  try {
    const results: Map<string, Tensor>[] = [];
    for (const { inputs } of batches) {
      const outputs = await session.run(inputs);
      results.push(new Map([...outputs].filter(([name, t]) => own.has(name) && t.dtype === 'float32')));
    }
    return results;
  } finally {
    await session.release();
  }
}

/** One forward and one backward pass; one thread, because sums over samples are split between threads. */
async function openBackward(
  model: Model,
  names: readonly string[],
  { inputs }: Batch,
  references: ReadonlyMap<string, Tensor>,
) {
  const declared = [...inputs].map(([name, t]) => value(name, t.dtype, t.dims));
  const types = await inferValueTypes(withGraph(model, { ...model.graph, inputs: declared }));
  const p = createProgram();
  const bind = Object.fromEntries([...inputs].map(([name, t]) => [name, p.input(name, t.dtype, t.dims)]));
  const outputs = [...references.keys()];
  const values = inlineModel(p, model, [...new Set([...outputs, ...names])], { types, bind });
  const at = (name: string): Value => required(values[name], name);
  const losses = outputs.map((name) => {
    const reference = required(references.get(name), name);
    const direction = p.input(directionOf(name), 'float32', reference.dims);
    return p.reduceSum(p.mul(at(name), direction));
  });
  const [head, ...rest] = losses;
  const loss = p.sum([required(head, 'an output'), ...rest]);
  const slopes = gradients(p, loss, names.map(at));
  const squares = slopes.map((g) => p.reduceSum(p.square(g), [0]));
  return openProgram<Value[], Tensor[]>(p, squares, { threads: 1 });
}
