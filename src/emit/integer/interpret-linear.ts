/** Reference kernels that sum products: convolution, matrix product, element-wise sums and products, pooling. */
import { required } from '../../core/index.js';
import { sizeOf, stridesOf } from '../../tensor/index.js';
import { broadcastDims, broadcastIndex, type Codes } from './codes.js';
import { type Accumulators, type Operands } from './operands.js';
import {
  type AxisSum,
  type Convolution,
  type MatrixProduct,
  type Product,
  type Sum,
  type Window,
  type WindowMax,
  type WindowSum,
} from './program.js';

/** Two spatial axes; a single one gets a neighbour of extent 1. */
interface Plane {
  readonly height: number;
  readonly width: number;
}

interface PlanarWindow {
  readonly kernel: Plane;
  readonly stride: Plane;
  readonly begin: Plane;
  readonly end: Plane;
  readonly dilation: Plane;
}

function plane(pair: readonly number[], missing: number): Plane {
  return pair.length === 1
    ? { height: missing, width: pair[0] ?? missing }
    : { height: pair[0] ?? missing, width: pair[1] ?? missing };
}

function planar({ kernel, strides, pads, dilations }: Window): PlanarWindow {
  const rank = kernel.length;
  return {
    kernel: plane(kernel, 1),
    stride: plane(strides, 1),
    begin: plane(pads.slice(0, rank), 0),
    end: plane(pads.slice(rank), 0),
    dilation: plane(dilations, 1),
  };
}

function outputPlane(input: Plane, { kernel, stride, begin, end, dilation }: PlanarWindow): Plane {
  const extent = (side: keyof Plane): number =>
    Math.floor(
      (input[side] + begin[side] + end[side] - dilation[side] * (kernel[side] - 1) - 1) / stride[side],
    ) + 1;
  return { height: extent('height'), width: extent('width') };
}

/** Calls `visit(input offset in the plane, tap)` for every tap of one output position that lies inside the input. */
function forEachTap(
  at: Plane,
  input: Plane,
  { kernel, stride, begin, dilation }: PlanarWindow,
  visit: (offset: number, tap: number) => void,
): void {
  for (let kh = 0; kh < kernel.height; kh++) {
    const h = at.height * stride.height - begin.height + kh * dilation.height;
    if (h < 0 || h >= input.height) continue;
    for (let kw = 0; kw < kernel.width; kw++) {
      const w = at.width * stride.width - begin.width + kw * dilation.width;
      if (w >= 0 && w < input.width) visit(h * input.width + w, kh * kernel.width + kw);
    }
  }
}

export function convolution(op: Convolution, operands: Operands): Accumulators {
  const x = operands.integers(op.x);
  const weight = operands.integers(op.weight);
  const bias = op.bias === undefined ? undefined : operands.integers(op.bias).data;
  const [batch = 1, channels = 1] = x.dims;
  const rows = weight.dims[0] ?? 1;
  const depth = weight.data.length / rows;
  const window = planar(op.window);
  const input = plane(x.dims.slice(2), 1);
  const output = outputPlane(input, window);
  const positions = output.height * output.width;
  const rowsPerGroup = rows / op.group;
  // Products of float64 are exact here and several times faster than of int32.
  const kernel = Float64Array.from(weight.data);
  const column = new Float64Array(depth);
  const data = new Float64Array(batch * rows * positions);
  for (let n = 0; n < batch; n++) {
    for (let group = 0; group < op.group; group++) {
      const first = (n * channels + (group * channels) / op.group) * input.height * input.width;
      for (let at = 0; at < positions; at++) {
        const position = { height: Math.floor(at / output.width), width: at % output.width };
        gatherColumn(column, x.data, first, position, input, window);
        const firstRow = group * rowsPerGroup;
        multiplyColumn(kernel, firstRow, rowsPerGroup, column, (m, v) => {
          data[(n * rows + m) * positions + at] = v + (bias?.[m] ?? 0);
        });
      }
    }
  }
  return { dims: [batch, rows, ...spatial(output, x.dims.length)], data };
}

/** Rows times a column, four rows at a time: each load of the column serves four sums. */
function multiplyColumn(
  kernel: Float64Array,
  firstRow: number,
  rows: number,
  column: Float64Array,
  emit: (row: number, v: number) => void,
): void {
  const depth = column.length;
  let row = firstRow;
  for (; row + 4 <= firstRow + rows; row += 4) {
    const at = row * depth;
    let v0 = 0;
    let v1 = 0;
    let v2 = 0;
    let v3 = 0;
    for (let i = 0; i < depth; i++) {
      const x = column[i] as number;
      v0 += (kernel[at + i] as number) * x;
      v1 += (kernel[at + depth + i] as number) * x;
      v2 += (kernel[at + 2 * depth + i] as number) * x;
      v3 += (kernel[at + 3 * depth + i] as number) * x;
    }
    emit(row, v0);
    emit(row + 1, v1);
    emit(row + 2, v2);
    emit(row + 3, v3);
  }
  for (; row < firstRow + rows; row++) {
    let v = 0;
    for (let i = 0; i < depth; i++) v += (kernel[row * depth + i] as number) * (column[i] as number);
    emit(row, v);
  }
}

/** The inputs of one output position, channel by channel; zeros outside the input. */
function gatherColumn(
  column: Float64Array,
  x: Int32Array,
  first: number,
  at: Plane,
  input: Plane,
  window: PlanarWindow,
): void {
  const taps = window.kernel.height * window.kernel.width;
  const size = input.height * input.width;
  column.fill(0);
  forEachTap(at, input, window, (offset, tap) => {
    for (let i = tap, from = first + offset; i < column.length; i += taps, from += size)
      column[i] = x[from] as number;
  });
}

function spatial({ height, width }: Plane, rank: number): number[] {
  return rank === 3 ? [width] : [height, width];
}

export function matrixProduct(op: MatrixProduct, operands: Operands): Accumulators {
  const a = operands.integers(op.a);
  const b = operands.integers(op.b);
  const bias = op.bias === undefined ? undefined : operands.integers(op.bias).data;
  const rows = a.dims.at(-2) ?? 1;
  const depth = a.dims.at(-1) ?? 1;
  const columns = b.dims.at(-1) ?? 1;
  const lead = broadcastDims([a.dims.slice(0, -2), b.dims.slice(0, -2)]);
  const aBlock = broadcastIndex(a.dims.slice(0, -2), lead);
  const bBlock = broadcastIndex(b.dims.slice(0, -2), lead);
  const data = new Float64Array(aBlock.length * rows * columns);
  for (let block = 0; block < aBlock.length; block++) {
    const aAt = (aBlock[block] as number) * rows * depth;
    const bAt = (bBlock[block] as number) * depth * columns;
    for (let i = 0; i < rows; i++) {
      const from = (block * rows + i) * columns;
      for (let j = 0; j < columns; j++) data[from + j] = bias?.[j] ?? 0;
      for (let k = 0; k < depth; k++) {
        const left = a.data[aAt + i * depth + k] as number;
        if (left === 0) continue;
        for (let j = 0; j < columns; j++) {
          data[from + j] = (data[from + j] as number) + left * (b.data[bAt + k * columns + j] as number);
        }
      }
    }
  }
  return { dims: [...lead, rows, columns], data };
}

export function sum(op: Sum, operands: Operands): Accumulators {
  const terms = op.terms.map(({ x, multiplier }) => ({ x: operands.integers(x), multiplier }));
  const dims = broadcastDims(terms.map(({ x }) => x.dims));
  const data = new Float64Array(sizeOf(dims));
  for (const { x, multiplier } of terms) {
    const index = broadcastIndex(x.dims, dims);
    for (let i = 0; i < data.length; i++) {
      data[i] = (data[i] as number) + multiplier * (x.data[index[i] as number] as number);
    }
  }
  return { dims, data };
}

export function product(op: Product, operands: Operands): Accumulators {
  const a = operands.integers(op.a);
  const b = operands.integers(op.b);
  const dims = broadcastDims([a.dims, b.dims]);
  const aIndex = broadcastIndex(a.dims, dims);
  const bIndex = broadcastIndex(b.dims, dims);
  return {
    dims,
    data: Float64Array.from(
      aIndex,
      (at, i) => (a.data[at] as number) * (b.data[bIndex[i] as number] as number),
    ),
  };
}

export function windowSum(op: WindowSum, operands: Operands): Accumulators {
  const { dims, data } = pool(operands.integers(op.x), op.window, 0, (total, x) => total + x);
  return { dims, data };
}

export function windowMax(op: WindowMax, operands: Operands): Codes {
  const { dims, data } = pool(operands.codes(op.x), op.window, -Infinity, Math.max);
  return { dims, data: Int32Array.from(data) };
}

/** Folds every window of every channel. */
function pool(
  x: Codes,
  shape: Window,
  start: number,
  fold: (folded: number, x: number) => number,
): Accumulators {
  const window = planar(shape);
  const input = plane(x.dims.slice(2), 1);
  const output = outputPlane(input, window);
  const size = input.height * input.width;
  const maps = (x.dims[0] ?? 1) * (x.dims[1] ?? 1);
  const data = new Float64Array(maps * output.height * output.width);
  for (let map = 0, i = 0; map < maps; map++) {
    for (let height = 0; height < output.height; height++) {
      for (let width = 0; width < output.width; width++, i++) {
        let folded = start;
        forEachTap({ height, width }, input, window, (offset) => {
          folded = fold(folded, x.data[map * size + offset] as number);
        });
        data[i] = folded;
      }
    }
  }
  return { dims: [x.dims[0] ?? 1, x.dims[1] ?? 1, ...spatial(output, x.dims.length)], data };
}

export function axisSum(op: AxisSum, operands: Operands): Accumulators {
  const x = operands.integers(op.x);
  const kept = x.dims.map((d, axis) => (op.axes.includes(axis) ? 1 : d));
  // Strides of the result, 0 along summed axes: where every input element is added.
  const strides = stridesOf(kept);
  const data = new Float64Array(sizeOf(kept));
  const position = x.dims.map(() => 0);
  for (const integer of x.data) {
    const at = position.reduce(
      (sum, p, axis) => (op.axes.includes(axis) ? sum : sum + p * required(strides[axis], 'stride')),
      0,
    );
    data[at] = (data[at] as number) + integer;
    for (let axis = position.length - 1; axis >= 0; axis--) {
      position[axis] = (position[axis] ?? 0) + 1;
      if ((position[axis] ?? 0) < (x.dims[axis] ?? 1)) break;
      position[axis] = 0;
    }
  }
  const dims = op.keepDims ? kept : x.dims.filter((_, axis) => !op.axes.includes(axis));
  return { dims, data };
}
