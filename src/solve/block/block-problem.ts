/** The problem of one block: a slice of the quantized network, its samples, and the error of given weights. */
import { required } from '../../core/index.js';
import { createProgram, loop, openProgram, type Program, type Value } from '../../program/index.js';
import { sizeOf, tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { type WeightedLayer } from '../layers.js';
import { type LearnedWeight } from './learned-weight.js';
import { stepDims, type Units } from './samples.js';
import { SLICE_SESSION, inlineSlice, type Slice } from './slice-program.js';

/** A value that the block reads, all units stacked. */
export interface BlockInput {
  /** As the quantized network hands it on. */
  readonly lossy: Tensor;
  /** As the float network has it; absent where both are the same. */
  readonly exact?: Tensor;
}

/** Weights of a block to be chosen so that its outputs come close to those of the float network. */
export interface BlockProblem {
  readonly name: string;
  /** The quantized block, for steps of `batch` units. */
  readonly slice: Slice;
  readonly units: Units;
  /** Units of one step. */
  readonly batch: number;
  readonly inputs: ReadonlyMap<string, BlockInput>;
  /** What the float network has at each exit. */
  readonly targets: ReadonlyMap<string, Tensor>;
  /** How much an error at each place of an exit costs, shape of one unit with axis 0 of size 1; 1 where absent. */
  readonly importance: ReadonlyMap<string, Tensor>;
  readonly weights: readonly LearnedWeight[];
  /** Biases of the float layers, by initializer; absent where a layer has none of its own. */
  readonly biases: ReadonlyMap<string, LayerBias>;
}

/** The bias of a float layer. */
export interface LayerBias {
  readonly layer: WeightedLayer;
  readonly value: Tensor;
}

/** Values that stand for initializers of the block: weights, and biases that go with them. */
export type BlockValues = ReadonlyMap<string, Tensor>;

/** Weighted squared error of every unit, and the weighted energy of the targets. */
export interface BlockErrors {
  readonly noise: Float64Array;
  readonly signal: Float64Array;
}

/** Inputs of a program through which the data of a block come. */
export interface BlockFeeds {
  readonly feeds: Record<string, Tensor>;
  /** The data as values of the program. */
  readonly lossy: ReadonlyMap<string, Value>;
  readonly exact: ReadonlyMap<string, Value>;
  readonly targets: ReadonlyMap<string, Value>;
}

/** Declares the data of a block as inputs of a program. */
export function declareData(p: Program, { inputs, targets }: BlockProblem, withExact: boolean): BlockFeeds {
  const feeds: Record<string, Tensor> = {};
  const declare = (kind: string, name: string, t: Tensor): [string, Value] => {
    const input = `${kind}:${name}`;
    feeds[input] = t;
    return [name, p.input(input, t.dtype, t.dims)];
  };
  return {
    feeds,
    lossy: new Map([...inputs].map(([name, { lossy }]) => declare('lossy', name, lossy))),
    exact: new Map(
      [...inputs].flatMap(([name, { exact }]) =>
        withExact && exact !== undefined ? [declare('exact', name, exact)] : [],
      ),
    ),
    targets: new Map([...targets].map(([name, t]) => declare('target', name, t))),
  };
}

/** Units of a stacked value by index [batch], in the shape that the slice takes. */
export function takeUnits(b: Program, { units, batch }: BlockProblem, stacked: Value, rows: Value): Value {
  const dims = stacked.dims as readonly number[];
  const picked = b.gather(stacked, rows);
  return units.kind === 'rows' ? picked : b.reshape(picked, stepDims(units, { dims } as Tensor, batch));
}

/** Σ importance · (z − t)² of every unit at all exits, [batch]. */
export function errorByUnit(
  b: Program,
  problem: BlockProblem,
  results: Readonly<Record<string, Value>>,
  targets: ReadonlyMap<string, Value>,
): Value {
  return sumByUnit(b, problem, [...targets.keys()], (name) =>
    b.sub(required(results[name], name), required(targets.get(name), name)),
  );
}

function sumByUnit(
  b: Program,
  { importance, batch }: BlockProblem,
  exits: readonly string[],
  of: (name: string) => Value,
): Value {
  const sums = exits.map((name) => {
    const squares = b.square(of(name));
    const weight = importance.get(name);
    const weighted = weight === undefined ? squares : b.mul(squares, b.constant(weight));
    return b.reduceSum(b.reshape(weighted, [batch, -1]), [1]);
  });
  const [first, ...rest] = sums;
  return b.sum([required(first, 'an exit'), ...rest]);
}

/** Measures weights on units. */
export interface BlockMeter {
  measure(values: BlockValues): Promise<BlockErrors>;
  release(): Promise<void>;
}

/** Opens a program that runs a block over all units, with activations rounded, and measures its outputs. */
export async function openMeter(problem: BlockProblem): Promise<BlockMeter> {
  const { units, batch, weights, biases, slice } = problem;
  const p = createProgram();
  const data = declareData(p, problem, false);
  const names = [...weights.map((w) => w.layer.weight), ...biases.keys()];
  const dimsOf = (name: string): readonly number[] =>
    biases.get(name)?.value.dims ??
    required(
      weights.find((w) => w.layer.weight === name),
      name,
    ).layer.layout.dims;
  const given = Object.fromEntries(
    names.map((name) => [name, p.input(`given:${name}`, 'float32', dimsOf(name))]),
  );
  const steps = Math.ceil(units.count / batch);
  const order = Array.from({ length: steps * batch }, (_, i) => BigInt(Math.min(i, units.count - 1)));
  const table = p.constant(tensor('int64', [steps, batch], BigInt64Array.from(order)));
  const { record } = loop(p, { done: p.scalar(0, 'int64') }, steps, (b, { done }, iteration) => {
    const rows = b.gather(table, iteration);
    const take = (v: Value): Value => takeUnits(b, problem, v, rows);
    const bind = Object.fromEntries([...data.lossy].map(([name, v]) => [name, take(v)]));
    const results = inlineSlice(b, slice, { ...bind, ...given });
    const targets = new Map([...data.targets].map(([name, v]) => [name, take(v)]));
    return {
      state: { done: b.add(done, 1) },
      record: {
        noise: errorByUnit(b, problem, results, targets),
        signal: sumByUnit(b, problem, [...targets.keys()], (name) => required(targets.get(name), name)),
      },
    };
  });
  const program = await openProgram<typeof record, { noise: Tensor; signal: Tensor }>(
    p,
    record,
    SLICE_SESSION,
  );
  const numbers = (t: Tensor): Float64Array => Float64Array.from(toFloat32(t).subarray(0, units.count));
  return {
    measure: async (values) => {
      const feeds = Object.fromEntries(
        names.map((name) => [`given:${name}`, required(values.get(name), name)]),
      );
      const { noise, signal } = await program.run({ ...data.feeds, ...feeds });
      return { noise: numbers(noise), signal: numbers(signal) };
    },
    release: () => program.release(),
  };
}

/** Error relative to the targets, over the units of a range; undefined for none. */
export function relativeError({ noise, signal }: BlockErrors, from: number, to: number): number | undefined {
  if (to <= from) return undefined;
  const total = (values: Float64Array): number => values.subarray(from, to).reduce((sum, v) => sum + v, 0);
  return total(noise) / Math.max(total(signal), Number.MIN_VALUE);
}

/** Importance that is the product of its means along each axis, with mean 1, and a floor under it. */
export function separable(t: Tensor, floor: number): Tensor {
  const { dims } = t;
  const values = toFloat32(t);
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const factors = dims.map((size, axis) => {
    const inner = sizeOf(dims.slice(axis + 1));
    const sums = new Float64Array(size);
    values.forEach((v, i) => {
      const at = Math.floor(i / inner) % size;
      sums[at] = (sums[at] as number) + v;
    });
    const count = values.length / size;
    return sums.map((s) => (mean === 0 ? 1 : s / count / mean));
  });
  const out = Float32Array.from(values, (_, i) => {
    let product = 1;
    let left = i;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const size = dims[axis] as number;
      product *= factors[axis]?.[left % size] ?? 1;
      left = Math.floor(left / size);
    }
    return (product + floor) / (1 + floor);
  });
  return tensor('float32', [1, ...dims], out);
}
