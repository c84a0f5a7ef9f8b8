/**
 * The search for inputs as a tensor program: a batch moves against the gradient of how far its statistics are from those of
 * the training data (ZeroQ, arXiv 2001.00281, equation 3).
 */
import { required } from '../../core/index.js';
import { openSession, openSessionThread } from '../../engine/index.js';
import { type Model, type TensorType } from '../../onnx/index.js';
import {
  adam,
  cosineSchedule,
  createProgram,
  feedsOf,
  gradients,
  inlineModel,
  loop,
  openProgram,
  updateParameters,
  type Program,
  type Value,
} from '../../program/index.js';
import { tensor, type Tensor } from '../../tensor/index.js';
import { type NormalizedValue } from './statistics.js';

/** An input that is looked for. */
export interface SoughtInput {
  readonly name: string;
  /** Of one batch. */
  readonly dims: readonly number[];
  /** What the user knows of its elements: where noise starts, and what a batch is held to. */
  readonly known?: { readonly mean: number; readonly std: number };
}

export interface SearchProblem {
  /** Opset 18 or later, with batch normalizations as nodes, for inputs of one size. */
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
  readonly normalized: readonly NormalizedValue[];
  readonly inputs: readonly SoughtInput[];
  /** The other inputs of the model, the same at every step. */
  readonly given: ReadonlyMap<string, Tensor>;
  readonly steps: number;
  /** Learning rate of the first step, in units of an input's scale. */
  readonly rate: number;
}

/** Inputs are `mean + scale · latent`. */
export interface Scaling {
  readonly mean: number;
  readonly scale: number;
}

/** Where a search stands: latent inputs and the moments of Adam. A type alias, so that it is itself a tree. */
export type SearchState<T = Tensor> = {
  readonly latent: readonly T[];
  readonly moments: readonly Readonly<Record<string, T>>[];
};

export interface SearchProgram {
  /** Takes steps from number `first` on; the losses are those before each step. */
  run(
    state: SearchState,
    scaling: readonly Scaling[],
    first: number,
    count: number,
  ): Promise<{ readonly state: SearchState; readonly loss: Tensor }>;
  release(): Promise<void>;
}

/** What a run gives. */
type Results<T> = { readonly state: SearchState<T>; readonly loss: T };

const OPTIMIZER = adam();

export function startState(latent: readonly Tensor[]): SearchState {
  const moments = latent.map(({ dims }) =>
    Object.fromEntries(OPTIMIZER.moments.map((name) => [name, tensor('float32', dims)])),
  );
  return { latent, moments };
}

/**
 * Compiles steps of Adam with a cosine schedule. A step takes one thread, because sums are split between threads and would
 * differ in their last bits; several lanes take batches side by side.
 *
 * @throws FxqError E_UNSUPPORTED naming operator and node where there is no gradient rule or another type than float32
 */
export async function openSearch(problem: SearchProblem, lanes: number): Promise<SearchProgram[]> {
  const { model, types, normalized, inputs, given } = problem;
  const p = createProgram();
  const like = startState(inputs.map(({ dims }) => tensor('float32', dims)));
  const start: SearchState<Value> = p.inputs('state', like);
  const [first, trips] = [p.input('first', 'float32', []), p.input('trips', 'int64', [])];
  const scaling = inputs.map(({ name }) => ({
    mean: p.input(`mean of ${name}`, 'float32', []),
    scale: p.input(`scale of ${name}`, 'float32', []),
  }));
  const constants = [...given].map(([name, t]) => [name, p.constant(t)] as const);
  const schedule = cosineSchedule(problem.rate, 0, problem.steps);
  const names = [...new Set(normalized.map(({ value }) => value))];

  const { state, record } = loop(p, start, trips, (b, { latent, moments }, iteration) => {
    const sought = inputs.map(({ name }, i) => {
      const { mean, scale } = required(scaling[i], 'a scaling');
      return [name, b.add(b.mul(required(latent[i], name), scale), mean)] as const;
    });
    const bind = Object.fromEntries([...constants, ...sought]);
    const values = inlineModel(b, model, names, { types, bind });
    const layers = normalized.map((n) => layerLoss(b, required(values[n.value], n.value), n));
    const own = inputs.flatMap(({ known }, i) =>
      known === undefined ? [] : [standardLoss(b, required(latent[i], 'an input'))],
    );
    const [head, ...rest] = [...layers, ...own];
    const sum = b.sum([required(head, 'a normalized value'), ...rest]);
    const loss = b.mul(sum, 1 / (layers.length + own.length));
    const slopes = gradients(b, loss, latent);
    const step = b.add(b.cast(iteration, 'float32'), first);
    const next = updateParameters(b, OPTIMIZER, latent, slopes, moments, {
      rate: schedule(b, step),
      count: b.add(step, 1),
    });
    return { state: { latent: next.parameters, moments: next.state }, record: { loss } };
  });
  const open = lanes === 1 ? openSession : openSessionThread;
  const opened = Array.from({ length: lanes }, () =>
    openProgram<Results<Value>, Results<Tensor>>(p, { state, loss: record.loss }, { threads: 1 }, open),
  );
  return (await Promise.all(opened)).map((program) => ({
    run: (from, scalings, at, count) =>
      program.run({
        ...feedsOf('state', from),
        ...Object.fromEntries(
          inputs.flatMap(({ name }, i) => {
            const { mean, scale } = required(scalings[i], 'a scaling');
            return [
              [`mean of ${name}`, tensor('float32', [], [mean])],
              [`scale of ${name}`, tensor('float32', [], [scale])],
            ];
          }),
        ),
        first: tensor('float32', [], [at]),
        trips: tensor('int64', [], [BigInt(count)]),
      }),
    release: () => program.release(),
  }));
}

/**
 * mean over channels of ((m − μ)² + (s − σ)²) / σ², with m and s of the whole batch.
 *
 * ZeroQ compares each sample by itself and without the division: then a layer counts by how large its values are, and
 * every sample is made as varied as all training data together, which narrows what lies between them.
 */
function layerLoss(p: Program, value: Value, { mean, std, epsilon }: NormalizedValue): Value {
  const rank = required(value.dims, 'a shape').length;
  const axes = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== 1);
  const found = statistics(p, value, axes, epsilon);
  const relative = (x: Value, target: Float32Array): Value =>
    p.div(p.sub(x, channels(p, target, rank)), channels(p, std, rank));
  const errors = p.add(p.square(relative(found.mean, mean)), p.square(relative(found.std, std)));
  return p.reduceMean(errors);
}

/** m² + (s − 1)² of all elements. */
function standardLoss(p: Program, latent: Value): Value {
  const axes = Array.from({ length: required(latent.dims, 'a shape').length }, (_, i) => i);
  const { mean, std } = statistics(p, latent, axes, 1e-6);
  return p.reduceMean(p.add(p.square(mean), p.square(p.sub(std, 1))));
}

function statistics(
  p: Program,
  value: Value,
  axes: readonly number[],
  epsilon: number,
): { readonly mean: Value; readonly std: Value } {
  const mean = p.reduceMean(value, axes, true);
  const variance = p.reduceMean(p.square(p.sub(value, mean)), axes, true);
  return { mean, std: p.sqrt(p.add(variance, epsilon)) };
}

/** One entry a channel, in the shape of statistics. */
function channels(p: Program, values: Float32Array, rank: number): Value {
  const dims = Array.from({ length: rank }, (_, i) => (i === 1 ? values.length : 1));
  return p.constant(tensor('float32', dims, values));
}
