/** Products: matrices, convolutions and pooling. */
import { float, type Dim } from '../../onnx/index.js';
import { type Tape } from '../tape.js';
import { broadcastDims, dimsOf, mismatch, type Value } from '../value.js';

/** Window of a convolution or pooling, per spatial axis; pads are all beginnings, then all ends. */
export interface Window {
  readonly strides?: readonly number[];
  readonly pads?: readonly number[];
  readonly dilations?: readonly number[];
}

export interface ConvOptions extends Window {
  readonly group?: number;
  readonly bias?: Value;
}

export interface ConvTransposeOptions extends ConvOptions {
  /** Added at the end of each output axis, to tell sizes apart that a stride maps to one. */
  readonly outputPadding?: readonly number[];
}

export interface PoolOptions extends Window {
  readonly countIncludePad?: boolean;
}

/** The matrix and convolution operators of a program. */
export function matrixOps(t: Tape) {
  return {
    /** Matrix product of the last two axes, batched and broadcast over the others (numpy's `matmul`). */
    matmul: (a: Value, b: Value): Value => t.op('MatMul', [a, b], { dtype: a.dtype, dims: matmulDims(a, b) }),

    /** αA'B' + βC of two matrices, either transposed. */
    gemm: (
      a: Value,
      b: Value,
      c?: Value,
      options: { transA?: boolean; transB?: boolean; alpha?: number; beta?: number } = {},
    ): Value => {
      const { transA = false, transB = false, alpha = 1, beta = 1 } = options;
      const rows = dimsOf(a)[transA ? 1 : 0] ?? null;
      const columns = dimsOf(b)[transB ? 0 : 1] ?? null;
      return t.op(
        'Gemm',
        c === undefined ? [a, b] : [a, b, c],
        { dtype: a.dtype, dims: [rows, columns] },
        { transA: Number(transA), transB: Number(transB), alpha: float(alpha), beta: float(beta) },
      );
    },

    /** Convolution of x [N, C, …] with w [O, C/group, …]. */
    conv: (x: Value, w: Value, options: ConvOptions = {}): Value => {
      const { bias, group = 1, ...window } = options;
      const [n, , ...size] = dimsOf(x);
      const [channels, , ...kernel] = dimsOf(w);
      return t.op(
        'Conv',
        bias === undefined ? [x, w] : [x, w, bias],
        { dtype: x.dtype, dims: [n ?? null, channels ?? null, ...windowDims(size, kernel, window)] },
        { group, ...windowAttributes(window), ...kernelShape(kernel) },
      );
    },

    /** Transposed convolution of x [N, C, …] with w [C, O/group, …]: the input gradient of `conv` with w. */
    convTranspose: (x: Value, w: Value, options: ConvTransposeOptions = {}): Value => {
      const { bias, group = 1, outputPadding, ...window } = options;
      const [n, , ...size] = dimsOf(x);
      const [, channels, ...kernel] = dimsOf(w);
      const rank = size.length;
      const spatial = size.map((d, i): Dim => {
        const k = kernel[i];
        if (typeof d !== 'number' || typeof k !== 'number') return null;
        const pads = (window.pads?.[i] ?? 0) + (window.pads?.[i + rank] ?? 0);
        return (
          (d - 1) * (window.strides?.[i] ?? 1) +
          (k - 1) * (window.dilations?.[i] ?? 1) +
          1 +
          (outputPadding?.[i] ?? 0) -
          pads
        );
      });
      return t.op(
        'ConvTranspose',
        bias === undefined ? [x, w] : [x, w, bias],
        {
          dtype: x.dtype,
          dims: [n ?? null, typeof channels === 'number' ? channels * group : null, ...spatial],
        },
        {
          group,
          ...windowAttributes(window),
          ...kernelShape(kernel),
          ...(outputPadding === undefined ? {} : { output_padding: outputPadding }),
        },
      );
    },

    maxPool: (x: Value, kernel: readonly number[], window: Window = {}): Value =>
      t.op(
        'MaxPool',
        [x],
        { dtype: x.dtype, dims: poolDims(x, kernel, window) },
        poolAttributes(kernel, window),
      ),

    /** Largest elements of each window and their flat indices into x. */
    maxPoolWithIndices: (
      x: Value,
      kernel: readonly number[],
      window: Window = {},
    ): { values: Value; indices: Value } => {
      const dims = poolDims(x, kernel, window);
      const [values, indices] = t.ops(
        'MaxPool',
        [x],
        [
          { dtype: x.dtype, dims },
          { dtype: 'int64', dims },
        ],
        poolAttributes(kernel, window),
      ) as [Value, Value];
      return { values, indices };
    },

    averagePool: (x: Value, kernel: readonly number[], options: PoolOptions = {}): Value => {
      const { countIncludePad = false, ...window } = options;
      return t.op(
        'AveragePool',
        [x],
        { dtype: x.dtype, dims: poolDims(x, kernel, window) },
        { ...poolAttributes(kernel, window), count_include_pad: Number(countIncludePad) },
      );
    },

    /** Mean over the spatial axes, which stay with size 1. */
    globalAveragePool: (x: Value): Value =>
      t.op('GlobalAveragePool', [x], { dtype: x.dtype, dims: dimsOf(x).map((d, i) => (i < 2 ? d : 1)) }),
  };
}

function matmulDims(a: Value, b: Value): readonly Dim[] | undefined {
  if (a.dims === undefined || b.dims === undefined) return undefined;
  // A vector on the left is a row, on the right a column; that axis is dropped from the result.
  const left = a.dims.length === 1 ? [1, ...a.dims] : a.dims;
  const right = b.dims.length === 1 ? [...b.dims, 1] : b.dims;
  const depth = left[left.length - 1];
  const other = right[right.length - 2];
  if (typeof depth === 'number' && typeof other === 'number' && depth !== other)
    throw mismatch('MatMul', [a, b]);
  const batch = broadcastDims(
    [left, right].map((dims) => ({ dtype: a.dtype, dims: dims.slice(0, -2) })),
    'MatMul',
  );
  return [
    ...(batch ?? []),
    ...(a.dims.length === 1 ? [] : [left[left.length - 2] ?? null]),
    ...(b.dims.length === 1 ? [] : [right[right.length - 1] ?? null]),
  ];
}

/** Spatial sizes a window yields; unknown where the input's are. */
export function windowDims(size: readonly Dim[], kernel: readonly Dim[], window: Window): Dim[] {
  return size.map((d, i) => {
    const k = kernel[i];
    if (typeof d !== 'number' || typeof k !== 'number') return null;
    const padded = d + (window.pads?.[i] ?? 0) + (window.pads?.[i + size.length] ?? 0);
    return Math.floor((padded - (k - 1) * (window.dilations?.[i] ?? 1) - 1) / (window.strides?.[i] ?? 1)) + 1;
  });
}

function poolDims(x: Value, kernel: readonly number[], window: Window): readonly Dim[] {
  const [n, c, ...size] = dimsOf(x);
  return [n ?? null, c ?? null, ...windowDims(size, kernel, window)];
}

function windowAttributes({ strides, pads, dilations }: Window): Record<string, readonly number[]> {
  return {
    ...(strides === undefined ? {} : { strides }),
    ...(pads === undefined ? {} : { pads }),
    ...(dilations === undefined ? {} : { dilations }),
  };
}

function kernelShape(kernel: readonly Dim[]): Record<string, readonly number[]> {
  return kernel.every((k) => typeof k === 'number') ? { kernel_shape: kernel } : {};
}

function poolAttributes(kernel: readonly number[], window: Window): Record<string, readonly number[]> {
  return { kernel_shape: kernel, ...windowAttributes(window) };
}
