/** Sums over runs, in float64, and the moments they make. */
import { FxqError, required, sharedFloat64, type Rng } from '../../core/index.js';
import { describeNode } from '../../onnx/index.js';
import { tensor, toFloat32, toNumbers, type Tensor } from '../../tensor/index.js';
import { type WeightedLayer } from '../layers.js';
import { matrixSize } from '../weight-layout.js';
import { type Moments, type Target } from '../problem.js';
import { PHASE_AXES } from './patches.js';
import { type TapOutputs } from './tap.js';

/** Moments of inputs alone. */
export type InputMoments = Omit<Moments, 'target'>;

/** Running sums of one tap. */
export interface Sums {
  add(names: TapOutputs, results: ReadonlyMap<string, Tensor>): void;
  /** Rows summed so far. */
  rows(): number;
  /** Ends the sums over inputs; to be called once. */
  inputs(): InputMoments;
  /** Ends the sums over outputs; to be called once. */
  target(): Target;
}

/** Empty sums for a layer. */
export function startSums(layer: WeightedLayer): Sums {
  const { rows, cols } = matrixSize(layer.layout);
  const { groups } = layer.layout;
  const gram = sharedFloat64(groups * cols * cols);
  const sum = new Float64Array(groups * cols);
  const product = new Float64Array(rows * cols);
  const targetSum = new Float64Array(rows);
  const energy = new Float64Array(rows);
  let count = 0;
  /** Sums become means in place; nothing is added after that. */
  const mean = (sums: Float64Array): Float64Array => {
    if (count === 0) throw new FxqError('E_DATA', `no input reached ${describeNode(layer.node)}`);
    for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] as number) / count;
    return sums;
  };
  const split = (sums: Float64Array, size: number): Float64Array[] => {
    const all = mean(sums);
    return Array.from({ length: groups }, (_, g) => all.subarray(g * size, (g + 1) * size));
  };
  return {
    add: (names, results) => {
      const read = (name: string): Tensor => required(results.get(name), name);
      const isFirst = count === 0;
      accumulate(gram, read(names.gram), isFirst);
      accumulate(sum, read(names.sum), isFirst);
      count += toNumbers(read(names.rows))[0] ?? 0;
      if (names.target === undefined) return;
      accumulate(product, read(names.target.product), isFirst);
      accumulate(targetSum, read(names.target.sum), isFirst);
      accumulate(energy, read(names.target.energy), isFirst);
    },
    rows: () => count,
    inputs: () => ({ count, gram: split(gram, cols * cols), mean: split(sum, cols) }),
    target: () => ({ product: mean(product), mean: mean(targetSum), energy: mean(energy) }),
  };
}

function accumulate(total: Float64Array, part: Tensor, isFirst: boolean): void {
  const values = toFloat32(part);
  if (isFirst) return total.set(values);
  for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) + (values[i] as number);
}

/** The offsets of all lattices in one run. */
export function randomPhase(rng: Rng): Tensor {
  return tensor(
    'int64',
    [PHASE_AXES],
    Array.from({ length: PHASE_AXES }, () => BigInt(rng.below(2 ** 30))),
  );
}
