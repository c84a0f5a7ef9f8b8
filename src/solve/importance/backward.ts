/** One forward and one backward pass of a network from random directions of its output's loss. */
import { required, type Context, type Rng } from '../../core/index.js';
import { inferValueTypes, openSession, type Batch } from '../../engine/index.js';
import { value, withGraph, type Model } from '../../onnx/index.js';
import {
  createProgram,
  gradients,
  inlineModel,
  openProgram,
  type Program,
  type Value,
} from '../../program/index.js';
import { type Tensor } from '../../tensor/index.js';
import { chooseLoss, lossProbe } from './output-loss.js';

/** What the network gives for a batch, by output. */
export type FloatOutputs = ReadonlyMap<string, Tensor>;

/** The same for all batches of one key. */
export function shapeOf({ inputs }: Batch): string {
  return [...inputs].map(([name, t]) => `${name}[${t.dims.join()}]`).join();
}

/** The input through which an output gets its direction. */
function directionOf(output: string): string {
  return `fxq:direction of ${output}`;
}

/** The float outputs of every batch. */
export async function floatOutputs(
  model: Model,
  batches: readonly Batch[],
  { threads }: Pick<Context, 'threads'>,
): Promise<FloatOutputs[]> {
  const session = await openSession(model, { threads });
  const own = new Set(model.graph.outputs.map((o) => o.name));
  try {
    const results: FloatOutputs[] = [];
    for (const { inputs } of batches) {
      const outputs = await session.run(inputs);
      results.push(new Map([...outputs].filter(([name, t]) => own.has(name) && t.dtype === 'float32')));
    }
    return results;
  } finally {
    await session.release();
  }
}

/** A random direction for every output, as the program's inputs; all float outputs take part. */
export function drawDirections(references: FloatOutputs, rng: Rng): Record<string, Tensor> {
  return Object.fromEntries(
    [...references].map(([name, reference]) => [
      directionOf(name),
      lossProbe(chooseLoss(reference), reference, rng),
    ]),
  );
}

/**
 * A program of both passes for batches shaped like this one; one thread, because sums over samples are split between
 * threads.
 *
 * @param names  values of the main graph that the outputs depend on
 * @param reduce what to make of the gradient at each of them
 * @throws FxqError E_OPSET below opset 18, E_UNSUPPORTED naming operator and node where there is no gradient rule
 */
export async function openBackward(
  model: Model,
  names: readonly string[],
  { inputs }: Batch,
  references: FloatOutputs,
  reduce: (p: Program, gradient: Value, index: number) => Value,
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
  return openProgram<Value[], Tensor[]>(
    p,
    slopes.map((g, i) => reduce(p, g, i)),
    { threads: 1 },
  );
}
