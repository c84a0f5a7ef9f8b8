/** Operators that move elements without computing: shapes, slices, gathers. */
import { type Dim } from '../../onnx/index.js';
import { sizeOf, tensor, type DType } from '../../tensor/index.js';
import { type Tape } from '../tape.js';
import {
  allKnown,
  broadcastDims,
  dimsOf,
  normalizeAxes,
  rankOf,
  type Operand,
  type Value,
} from '../value.js';

/** Bounds of a slice, one entry an axis; `ends` may exceed the size. */
export interface SliceOptions {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly axes?: readonly number[];
  readonly steps?: readonly number[];
}

/** The moving operators of a program. */
export function movementOps(t: Tape) {
  const int64s = (values: readonly number[], base = 'shape'): Value =>
    t.constant(tensor('int64', [values.length], values), base);

  /** The shape as int64 [rank]; a constant where it is known. */
  const shapeOf = (x: Value): Value =>
    allKnown(x.dims)
      ? int64s(x.dims)
      : t.op('Shape', [x], { dtype: 'int64', dims: [x.dims?.length ?? null] });

  /** x with another shape: sizes (0 keeps an axis, one may be −1), or an int64 vector known only when running. */
  const reshape = (x: Value, shape: readonly number[] | Value, dims?: readonly Dim[]): Value => {
    if ('name' in shape) {
      const rank = shape.dims?.[0];
      return t.op('Reshape', [x, shape], {
        dtype: x.dtype,
        dims: dims ?? (typeof rank === 'number' ? new Array<Dim>(rank).fill(null) : undefined),
      });
    }
    return t.op('Reshape', [x, int64s(shape)], { dtype: x.dtype, dims: reshapedDims(x, shape) });
  };

  const gather = (x: Value, indices: Value, axis = 0): Value => {
    const dims = dimsOf(x);
    const at = axis < 0 ? axis + dims.length : axis;
    return t.op(
      'Gather',
      [x, indices],
      { dtype: x.dtype, dims: [...dims.slice(0, at), ...dimsOf(indices), ...dims.slice(at + 1)] },
      { axis },
    );
  };

  /** Size of one axis as int64 [1]. */
  const sizeAlong = (x: Value, axis: number): Value => {
    const dim = x.dims?.[axis < 0 ? axis + rankOf(x) : axis];
    return typeof dim === 'number' ? int64s([dim]) : gather(shapeOf(x), int64s([axis], 'axis'));
  };

  /** Number of elements as an int64 scalar. */
  const elementCount = (x: Value): Value =>
    allKnown(x.dims) ? t.scalar(sizeOf(x.dims), 'int64') : t.op('Size', [x], { dtype: 'int64', dims: [] });

  const concat = (values: readonly Value[], axis: number): Value => {
    const [first] = values as [Value];
    const at = axis < 0 ? axis + rankOf(first) : axis;
    const sizes: readonly Dim[] = values.map((v) => dimsOf(v)[at] ?? null);
    const total: Dim = allKnown(sizes) ? sizes.reduce<number>((a, b) => a + b, 0) : null;
    return t.op(
      'Concat',
      values,
      { dtype: first.dtype, dims: dimsOf(first).map((d, i) => (i === at ? total : d)) },
      { axis },
    );
  };

  const expand = (x: Value, shape: readonly number[] | Value, dims?: readonly Dim[]): Value => {
    if ('name' in shape) return t.op('Expand', [x, shape], { dtype: x.dtype, dims });
    return t.op('Expand', [x, int64s(shape)], {
      dtype: x.dtype,
      dims: broadcastDims([x, { dtype: x.dtype, dims: shape }], 'Expand'),
    });
  };

  /** One value everywhere. */
  const full = (
    shape: readonly number[] | Value,
    value: number,
    dtype: DType = 'float32',
    dims: readonly Dim[] | undefined = 'name' in shape ? undefined : shape,
  ): Value =>
    t.op(
      'ConstantOfShape',
      ['name' in shape ? shape : int64s(shape)],
      { dtype, dims },
      { value: tensor(dtype, [1], [value]) },
    );

  const unsqueeze = (x: Value, axes: readonly number[]): Value => {
    const dims = dimsOf(x);
    const rank = dims.length + axes.length;
    const fresh = new Set(normalizeAxes(axes, rank));
    const rest = [...dims];
    return t.op('Unsqueeze', [x, int64s(axes, 'axes')], {
      dtype: x.dtype,
      dims: Array.from({ length: rank }, (_, i): Dim => (fresh.has(i) ? 1 : (rest.shift() ?? null))),
    });
  };

  return {
    int64s,
    shapeOf,
    sizeAlong,
    sizeOf: elementCount,
    reshape,
    /** x with the shape of another value of the same size. */
    reshapeLike: (x: Value, like: Value): Value =>
      allKnown(like.dims) ? reshape(x, like.dims) : reshape(x, shapeOf(like), like.dims),
    /** All elements in one axis. */
    flat: (x: Value): Value => reshape(x, [-1]),
    expand,
    /** x broadcast to the shape of another value. */
    expandLike: (x: Value, like: Value): Value =>
      allKnown(like.dims) ? expand(x, like.dims) : expand(x, shapeOf(like), like.dims),
    unsqueeze,
    squeeze: (x: Value, axes: readonly number[]): Value => {
      const dropped = new Set(normalizeAxes(axes, rankOf(x)));
      return t.op('Squeeze', [x, int64s(axes, 'axes')], {
        dtype: x.dtype,
        dims: dimsOf(x).filter((_, i) => !dropped.has(i)),
      });
    },
    /** Axes reordered; all of them reversed by default. */
    transpose: (x: Value, perm?: readonly number[]): Value => {
      const dims = dimsOf(x);
      const order = perm ?? dims.map((_, i) => dims.length - 1 - i);
      return t.op(
        'Transpose',
        [x],
        { dtype: x.dtype, dims: order.map((i) => dims[i] ?? null) },
        { perm: order },
      );
    },
    /** The last two axes swapped. */
    transposeLast: (x: Value): Value => {
      const dims = dimsOf(x);
      const n = dims.length;
      const perm = [...dims.keys()].map((i) => (i === n - 1 ? n - 2 : i === n - 2 ? n - 1 : i));
      return t.op('Transpose', [x], { dtype: x.dtype, dims: perm.map((i) => dims[i] ?? null) }, { perm });
    },
    concat,
    /** Parts along an axis; `sizes` when they are known, otherwise an int64 vector with as many parts as `count`. */
    split: (x: Value, sizes: readonly number[] | { value: Value; count: number }, axis: number): Value[] => {
      const dims = dimsOf(x);
      const at = axis < 0 ? axis + dims.length : axis;
      const parts: readonly Dim[] = 'count' in sizes ? new Array<Dim>(sizes.count).fill(null) : sizes;
      return t.ops(
        'Split',
        [x, 'count' in sizes ? sizes.value : int64s(sizes, 'sizes')],
        parts.map((size) => ({ dtype: x.dtype, dims: dims.map((d, i) => (i === at ? size : d)) })),
        { axis },
      );
    },
    /** Elements from `starts` to before `ends`. */
    slice: (x: Value, options: SliceOptions): Value => {
      const dims = dimsOf(x);
      const axes = normalizeAxes(options.axes ?? options.starts.map((_, i) => i), dims.length);
      const steps = options.steps ?? options.starts.map(() => 1);
      const size = new Map(
        axes.map((axis, i) => [
          axis,
          sliceSize(dims[axis] ?? null, options.starts[i] ?? 0, options.ends[i] ?? 0, steps[i] ?? 1),
        ]),
      );
      return t.op(
        'Slice',
        [
          x,
          int64s(options.starts, 'starts'),
          int64s(options.ends, 'ends'),
          int64s(axes, 'axes'),
          int64s(steps, 'steps'),
        ],
        { dtype: x.dtype, dims: dims.map((d, i) => (size.has(i) ? (size.get(i) ?? null) : d)) },
      );
    },
    /** Zeros (or `value`) added around x, or cut off where a pad is negative; all beginnings, then all ends. */
    pad: (
      x: Value,
      pads: readonly number[] | Value,
      options: { value?: Operand; mode?: string; dims?: readonly Dim[] } = {},
    ): Value => {
      const { value, mode = 'constant' } = options;
      const rank = rankOf(x);
      const dims =
        'name' in pads
          ? options.dims
          : dimsOf(x).map((d, i) =>
              typeof d === 'number'
                ? d + (pads[i] ?? 0) + (pads[i + rank] ?? 0)
                : (pads[i] ?? 0) === 0 && (pads[i + rank] ?? 0) === 0
                  ? d
                  : null,
            );
      return t.op(
        'Pad',
        [
          x,
          'name' in pads ? pads : int64s(pads, 'pads'),
          value === undefined ? undefined : t.operand(value, x.dtype),
        ],
        { dtype: x.dtype, dims: dims ?? new Array<Dim>(rank).fill(null) },
        { mode },
      );
    },
    /** x repeated along each axis. */
    tile: (x: Value, repeats: readonly number[]): Value =>
      t.op('Tile', [x, int64s(repeats, 'repeats')], {
        dtype: x.dtype,
        dims: dimsOf(x).map((d, i) => (typeof d === 'number' ? d * (repeats[i] ?? 1) : null)),
      }),
    /** Slices of x along an axis, by index. */
    gather,
    gatherElements: (x: Value, indices: Value, axis = 0): Value =>
      t.op('GatherElements', [x, indices], { dtype: x.dtype, dims: indices.dims }, { axis }),
    /** x with updates added at indices along an axis (repeated indices add up). */
    scatterAdd: (x: Value, indices: Value, updates: Value, axis = 0): Value =>
      t.op('ScatterElements', [x, indices, updates], x, { axis, reduction: 'add' }),
    /** x with slices added at leading indices [..., 1]. */
    scatterAddRows: (x: Value, indices: Value, updates: Value): Value =>
      t.op('ScatterND', [x, indices, updates], x, { reduction: 'add' }),
    full,
    /** One value everywhere, in the shape of another value. */
    fullLike: (x: Value, value: number, dtype: DType = x.dtype): Value =>
      allKnown(x.dims) ? full(x.dims, value, dtype) : full(shapeOf(x), value, dtype, x.dims),
    /** 0, 1, …, count − 1 as int64. */
    range: (count: number | Value): Value =>
      typeof count === 'number'
        ? t.constant(
            tensor(
              'int64',
              [count],
              Array.from({ length: count }, (_, i) => i),
            ),
            'range',
          )
        : t.op('Range', [t.scalar(0, 'int64'), count, t.scalar(1, 'int64')], {
            dtype: 'int64',
            dims: [null],
          }),
  };
}

/** The shape a reshape yields: 0 keeps an axis, −1 takes what is left. */
function reshapedDims(x: Value, shape: readonly number[]): readonly Dim[] | undefined {
  const kept = shape.map((d, i): Dim => (d === 0 ? (x.dims?.[i] ?? null) : d));
  if (!shape.includes(-1)) return kept;
  const source = x.dims?.filter((_, i) => shape[i] !== 0);
  const given = shape.filter((d) => d > 0);
  const left = allKnown(source) ? sizeOf(source) / sizeOf(given) : null;
  return kept.map((d) => (d === -1 ? left : d));
}

function sliceSize(dim: Dim, start: number, end: number, step: number): Dim {
  if (typeof dim !== 'number') return null;
  const clamp = (v: number): number =>
    Math.min(Math.max(v < 0 ? v + dim : v, step > 0 ? 0 : -1), step > 0 ? dim : dim - 1);
  return Math.max(0, Math.ceil((clamp(end) - clamp(start)) / step));
}
