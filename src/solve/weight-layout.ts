/** Weights as matrices: how an initializer's elements and its scales are laid out. */
import { FxqError } from '../core/index.js';
import { type Reduction } from '../formats/index.js';
import { type Granularity } from '../plan/index.js';
import { type ScaleSharing } from './problem.js';

/**
 * An initializer seen as `groups` matrices [out × in·kernel]. Output-major ones are stored [groups·out, in, kernel]
 * (Conv, Gemm with transB, embeddings), input-major ones [groups·in, out, kernel] (ConvTranspose, MatMul).
 */
export interface WeightLayout {
  readonly dims: readonly number[];
  readonly groups: number;
  readonly out: number;
  readonly in: number;
  readonly kernel: number;
  readonly inputMajor: boolean;
  /** ONNX axes of outputs and of the reduction. */
  readonly outAxis: number;
  readonly inAxis: number;
}

/** Rows and columns of the matrix view. */
export function matrixSize(layout: WeightLayout): { rows: number; cols: number } {
  return { rows: layout.groups * layout.out, cols: layout.in * layout.kernel };
}

/** The same matrix as an operator's axes give it; axes before the matrix have one entry. */
export function reductionOf({ dims, groups, outAxis }: WeightLayout): Reduction {
  return { axes: dims.map((_, axis) => axis).filter((axis) => axis !== outAxis), groups };
}

/** Index into the initializer of every element of the matrix view, row-major. */
export function elementIndex(layout: WeightLayout): Int32Array {
  const { groups, out, in: depth, kernel, inputMajor } = layout;
  const index = new Int32Array(groups * out * depth * kernel);
  let at = 0;
  for (let g = 0; g < groups; g++)
    for (let o = 0; o < out; o++)
      for (let i = 0; i < depth; i++) {
        const base = inputMajor ? (g * depth + i) * out + o : (g * out + o) * depth + i;
        for (let k = 0; k < kernel; k++) index[at++] = base * kernel + k;
      }
  return index;
}

/** Elements of an initializer in matrix order. */
export function toMatrix(layout: WeightLayout, data: Float32Array): Float32Array {
  if (!layout.inputMajor) return data.slice();
  return Float32Array.from(elementIndex(layout), (i) => data[i] as number);
}

/** Matrix elements back in the initializer's order. */
export function fromMatrix<T extends Int32Array | Float32Array | Float64Array>(
  layout: WeightLayout,
  values: T,
): T {
  const out = values.slice() as T;
  // Output-major initializers are in matrix order already.
  if (!layout.inputMajor) return out;
  elementIndex(layout).forEach((i, at) => {
    out[i] = values[at] as number;
  });
  return out;
}

/** Which scale each weight uses, and where that scale is in the ONNX scale tensor. */
export interface ScaleLayout {
  readonly sharing: ScaleSharing;
  /** Cell to index in the scale tensor: [], [channels], or the weight's shape with the blocked axis divided. */
  readonly index: Int32Array;
}

/**
 * Scale cells of a granularity.
 *
 * @throws FxqError E_UNSUPPORTED for blocks along an axis that is not the reduction
 */
export function scaleLayout(layout: WeightLayout, granularity: Granularity): ScaleLayout {
  const { groups, out, in: depth, kernel, inputMajor, outAxis, inAxis } = layout;
  const { rows, cols } = matrixSize(layout);
  const channel = Int32Array.from({ length: cols }, (_, c) => Math.floor(c / kernel));
  const row = Int32Array.from({ length: rows }, (_, r) => r);
  const whole = { block: new Int32Array(cols), blocks: 1 };
  const identity = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);
  if (granularity.kind === 'tensor')
    return { sharing: { rowSet: new Int32Array(rows), sets: 1, ...whole }, index: identity(1) };
  if (granularity.kind === 'channel' && granularity.axis === outAxis) {
    // An input-major weight has one scale for output o of every group.
    const rowSet = inputMajor ? row.map((r) => r % out) : row;
    const sets = inputMajor ? out : rows;
    return { sharing: { rowSet, sets, ...whole }, index: identity(sets) };
  }
  if (granularity.kind === 'channel' && granularity.axis === inAxis) {
    const rowSet = inputMajor ? row.map((r) => Math.floor(r / out)) : new Int32Array(rows);
    const sets = inputMajor ? groups : 1;
    return { sharing: { rowSet, sets, block: channel, blocks: depth }, index: identity(sets * depth) };
  }
  if (granularity.kind === 'block' && granularity.axis === inAxis) {
    const { size } = granularity;
    if (inputMajor && groups > 1 && depth % size !== 0)
      throw new FxqError('E_UNSUPPORTED', `blocks of ${size} cross the groups of ${depth} input channels`);
    const perRow = Math.ceil(depth / size);
    const block = Int32Array.from(
      { length: cols },
      (_, c) => Math.floor((channel[c] as number) / size) * kernel + (c % kernel),
    );
    const sharing = { rowSet: row, sets: rows, block, blocks: perRow * kernel };
    const index = identity(rows * perRow * kernel);
    if (!inputMajor) return { sharing, index };
    return {
      sharing,
      index: index.map((cell) => {
        const [r, b] = [Math.floor(cell / (perRow * kernel)), cell % (perRow * kernel)];
        const [g, o] = [Math.floor(r / out), r % out];
        return ((g * perRow + Math.floor(b / kernel)) * out + o) * kernel + (b % kernel);
      }),
    };
  }
  throw new FxqError(
    'E_UNSUPPORTED',
    `scales along axis ${granularity.axis} of a weight of shape [${layout.dims.join(', ')}] are not supported`,
    `Use axis ${granularity.kind === 'block' ? inAxis : outAxis}.`,
  );
}
