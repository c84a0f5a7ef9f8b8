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

/** Gradients of every layer, from all samples and from those of every other batch. */
export interface NetworkGradients {
  readonly all: readonly LayerGradients[];
  /** Absent where there is one batch only. */
  readonly halves?: readonly [readonly LayerGradients[], readonly LayerGradients[]];
}

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
): Promise<NetworkGradients> {
  const halves = [startTally(layers), startTally(layers)] as const;
  const programs = new Map<string, OpenProgram<Results>>();
  try {
    for (const [b, batch] of study.batches.entries()) {
      checkAbort(ctx);
      const reference = required(study.reference[b], 'a reference');
      const key = [...batch.inputs.values()].map((t) => t.dims.join()).join(';');
      const program = programs.get(key) ?? (await openBackward(study, layers, batch.inputs, reference, ctx));
      programs.set(key, program);
      const feeds = { ...Object.fromEntries(batch.inputs), [DIRECTION]: direction(reference) };
      addResults(b % 2 === 0 ? halves[0] : halves[1], await program.run(feeds), batch.count);
    }
  } finally {
    for (const program of programs.values()) await program.release();
  }
  const all = meanGradients(...halves);
  return study.batches.length < 2
    ? { all }
    : { all, halves: [meanGradients(halves[0]), meanGradients(halves[1])] };
}

/** Sums over the samples of some batches. */
interface Tally {
  readonly sums: { output: Float64Array; shift: Float64Array; squared: number; attribution: number }[];
  samples: number;
}

function startTally(layers: readonly SearchLayer[]): Tally {
  const sums = layers.map(({ channels }) => ({
    output: new Float64Array(channels),
    shift: new Float64Array(channels),
    squared: 0,
    attribution: 0,
  }));
  return { sums, samples: 0 };
}

function addResults(tally: Tally, results: Results, samples: number): void {
  for (const [i, { output, shift, squared, attribution }] of results.entries()) {
    const sum = required(tally.sums[i], 'sums of a layer');
    toFloat32(output).forEach((g, c) => (sum.output[c] = (sum.output[c] ?? 0) + g));
    toFloat32(shift).forEach((g, c) => (sum.shift[c] = (sum.shift[c] ?? 0) + g));
    sum.squared += toFloat32(squared)[0] ?? 0;
    sum.attribution += toFloat32(attribution)[0] ?? 0;
  }
  tally.samples += samples;
}

function meanGradients(...tallies: readonly Tally[]): LayerGradients[] {
  const samples = tallies.reduce((sum, t) => sum + t.samples, 0);
  return required(tallies[0], 'sums').sums.map((_, i) => {
    const parts = tallies.map((t) => required(t.sums[i], 'sums of a layer'));
    const mean = (of: (part: Tally['sums'][number]) => number): number =>
      parts.reduce((sum, p) => sum + of(p), 0) / samples;
    const channels = (key: 'output' | 'shift'): Float64Array =>
      required(parts[0], 'sums')[key].map((_, c) => mean((p) => p[key][c] ?? 0));
    return {
      output: channels('output'),
      shift: channels('shift'),
      squared: mean((p) => p.squared),
      attribution: mean((p) => p.attribution),
    };
  });
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
