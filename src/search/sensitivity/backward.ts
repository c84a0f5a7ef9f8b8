/** One backward pass from random directions of the output: what the cheap sensitivities of all layers are made of. */
import { checkAbort, required, type Context } from '../../core/index.js';
import { loadTensor } from '../../onnx/index.js';
import {
  createProgram,
  gradients,
  inlineModel,
  openProgram,
  type OpenProgram,
  type Program,
  type Value,
} from '../../program/index.js';
import { toFloat32, type Tensor } from '../../tensor/index.js';
import { type SearchLayer } from '../layers.js';
import { type Study } from './study.js';

/** What the gradients of one layer add up to, averaged over the samples. */
export interface LayerGradients {
  /** Σ over positions of the squared gradient by each output channel, [channels]. */
  readonly output: Float64Array;
  /** The square of the gradient's sum over the positions of a sample, by channel: what a shift of all of them does. */
  readonly shift: Float64Array;
  /** Σ over the weight of the squared gradient. */
  readonly squared: number;
  /** Σ over the weight of |w · gradient|. */
  readonly attribution: number;
}

/** The gradient that an output is given, of its shape; drawn anew for every batch. */
export type Direction = (reference: Tensor) => Tensor;

/** Sums of one batch, per layer, as values of the program. */
interface LayerSums {
  readonly output: Value;
  readonly shift: Value;
  readonly squared: Value;
  readonly attribution: Value;
}

type Results = { readonly [K in keyof LayerSums]: Tensor }[];

const DIRECTION = 'fxq:direction';

/**
 * Runs one forward and one backward pass over the samples.
 *
 * From a probe d with E[dd′] = F (see `lossProbe`), the gradient ∇(d·z) of the outputs z has E[∇∇′] = J′FJ, which at the
 * float network is the Hessian of the loss: the squared gradient of a weight estimates its trace, as in Hutchinson's
 * method. Samples get independent probes with mean zero, so the gradients of a batch may be summed before squaring.
 */
export async function backwardPass(
  study: Study,
  layers: readonly SearchLayer[],
  direction: Direction,
  ctx: Context,
): Promise<LayerGradients[]> {
  const sums = layers.map((l) => ({
    output: new Float64Array(l.channels),
    shift: new Float64Array(l.channels),
    squared: 0,
    attribution: 0,
  }));
  const programs = new Map<string, OpenProgram<Results>>();
  let samples = 0;
  try {
    for (const [b, batch] of study.batches.entries()) {
      checkAbort(ctx);
      const reference = required(study.reference[b], 'a reference');
      const key = [...batch.inputs.values()].map((t) => t.dims.join()).join(';');
      const program = programs.get(key) ?? (await openBackward(study, layers, batch.inputs, reference, ctx));
      programs.set(key, program);
      const feeds = { ...Object.fromEntries(batch.inputs), [DIRECTION]: direction(reference) };
      const results = await program.run(feeds);
      results.forEach(({ output, shift, squared, attribution }, i) => {
        const sum = required(sums[i], 'sums of a layer');
        toFloat32(output).forEach((g, c) => (sum.output[c] = (sum.output[c] ?? 0) + g));
        toFloat32(shift).forEach((g, c) => (sum.shift[c] = (sum.shift[c] ?? 0) + g));
        sum.squared += toFloat32(squared)[0] ?? 0;
        sum.attribution += toFloat32(attribution)[0] ?? 0;
      });
      samples += batch.count;
    }
  } finally {
    for (const program of programs.values()) await program.release();
  }
  return sums.map(({ output, shift, squared, attribution }) => ({
    output: output.map((g) => g / samples),
    shift: shift.map((g) => g / samples),
    squared: squared / samples,
    attribution: attribution / samples,
  }));
}

async function openBackward(
  study: Study,
  layers: readonly SearchLayer[],
  inputs: ReadonlyMap<string, Tensor>,
  reference: Tensor,
  ctx: Context,
): Promise<OpenProgram<Results>> {
  const { model, types, output } = study;
  const p = createProgram();
  const given = [...inputs].map(([name, t]) => [name, p.input(name, t.dtype, t.dims)] as const);
  const weights = layers.map(({ layer }) => {
    const stored = required(model.graph.initializers.get(layer.weight), layer.weight);
    return [layer.weight, p.constant(loadTensor(stored, layer.weight))] as const;
  });
  const bind = Object.fromEntries([...given, ...weights]);
  const names = [...new Set([output, ...layers.map((l) => l.layer.output)])];
  const values = inlineModel(p, model, names, { types, bind });
  const result = required(values[output], output);
  const targets = layers.map(({ layer }) => ({
    output: required(values[layer.output], layer.output),
    weight: required(bind[layer.weight], layer.weight),
  }));
  const direction = p.input(DIRECTION, 'float32', reference.dims);
  const pulled = gradients(p, p.reduceSum(p.mul(result, direction)), targets);
  const results = layers.map((layer, i): LayerSums => {
    const { output: out, weight: change } = required(pulled[i], 'a gradient');
    return {
      ...channelSums(p, out, layer),
      squared: p.reduceSumSquare(change),
      attribution: p.reduceL1(p.mul(required(targets[i], 'a target').weight, change)),
    };
  });
  return openProgram(p, results as unknown as { output: Value }[], { threads: ctx.threads });
}

/** By channel: Σ over samples and positions of the squared gradient, and Σ over samples of its squared sum. */
function channelSums(
  p: Program,
  gradient: Value,
  { layer }: SearchLayer,
): Pick<LayerSums, 'output' | 'shift'> {
  const rank = gradient.dims?.length ?? 0;
  const isLeft = layer.weightInput === 0 && layer.node.opType !== 'Gather';
  const axis = layer.patches.kind === 'window' ? 1 : isLeft ? rank - 2 : rank - 1;
  const others = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis);
  const positions = others.filter((i) => i !== 0);
  const sums = positions.length === 0 ? gradient : p.reduceSum(gradient, positions, true);
  return { output: p.reduceSumSquare(gradient, others), shift: p.reduceSumSquare(sums, others) };
}
