/** Reference kernels that move codes. */
import { required } from '../../core/index.js';
import { sizeOf, stridesOf } from '../../tensor/index.js';
import { broadcastDims, broadcastIndex, stridedIndex, take, type Codes } from './codes.js';
import { type Operands } from './operands.js';
import { type Concat, type Move } from './program.js';

export function move({ x, movement }: Move, operands: Operands): Codes {
  const source = operands.codes(x);
  switch (movement.op) {
    case 'reshape':
      return { dims: reshapedDims(source.dims, movement.shape), data: source.data };
    case 'transpose': {
      const strides = stridesOf(source.dims);
      const dims = movement.permutation.map((axis) => source.dims[axis] ?? 1);
      const moved = movement.permutation.map((axis) => strides[axis] ?? 1);
      return { dims, data: take(source.data, stridedIndex(dims, moved, 0)) };
    }
    case 'slice':
      return slice(source, movement);
    case 'pad':
      return pad(source, movement.pads, movement.fill);
    case 'gather':
      return gather(source, movement);
    case 'expand': {
      const dims = broadcastDims([source.dims, movement.shape]);
      return { dims, data: take(source.data, broadcastIndex(source.dims, dims)) };
    }
  }
}

/** Shape of Reshape: 0 keeps a dimension, −1 takes what is left. */
function reshapedDims(dims: readonly number[], shape: readonly number[]): number[] {
  const kept = shape.map((d, axis) => (d === 0 ? (dims[axis] ?? 1) : d));
  const known = kept.reduce((product, d) => (d === -1 ? product : product * d), 1);
  return kept.map((d) => (d === -1 ? sizeOf(dims) / known : d));
}

type MovementOf<Op extends Move['movement']['op']> = Extract<Move['movement'], { op: Op }>;

function slice(x: Codes, { axes, starts, ends, steps }: MovementOf<'slice'>): Codes {
  const strides = stridesOf(x.dims);
  const dims = [...x.dims];
  let offset = 0;
  axes.forEach((axis, i) => {
    const extent = required(x.dims[axis], 'axis');
    const step = steps[i] ?? 1;
    const within = (at: number, low: number, high: number): number =>
      Math.min(Math.max(at < 0 ? at + extent : at, low), high);
    const start = step > 0 ? within(starts[i] ?? 0, 0, extent) : within(starts[i] ?? 0, 0, extent - 1);
    const end = step > 0 ? within(ends[i] ?? 0, 0, extent) : within(ends[i] ?? 0, -1, extent - 1);
    dims[axis] = Math.max(0, Math.ceil((end - start) / step));
    offset += start * (strides[axis] ?? 1);
    strides[axis] = step * (strides[axis] ?? 1);
  });
  return { dims, data: take(x.data, stridedIndex(dims, strides, offset)) };
}

function pad(x: Codes, pads: readonly number[], fill: number): Codes {
  const rank = x.dims.length;
  const dims = x.dims.map((d, axis) => d + (pads[axis] ?? 0) + (pads[axis + rank] ?? 0));
  const strides = stridesOf(dims);
  const offset = strides.reduce((sum, stride, axis) => sum + stride * (pads[axis] ?? 0), 0);
  const data = new Int32Array(sizeOf(dims)).fill(fill);
  stridedIndex(x.dims, strides, offset).forEach((at, i) => {
    data[at] = x.data[i] as number;
  });
  return { dims, data };
}

function gather(x: Codes, { axis, indices, scalar }: MovementOf<'gather'>): Codes {
  const strides = stridesOf(x.dims);
  const extent = x.dims[axis] ?? 1;
  const outer = sizeOf(x.dims.slice(0, axis));
  const inner = strides[axis] ?? 1;
  const data = new Int32Array(outer * indices.length * inner);
  for (let o = 0, i = 0; o < outer; o++) {
    for (const index of indices) {
      const from = (o * extent + (index < 0 ? index + extent : index)) * inner;
      data.set(x.data.subarray(from, from + inner), i);
      i += inner;
    }
  }
  const middle = scalar ? [] : [indices.length];
  return { dims: [...x.dims.slice(0, axis), ...middle, ...x.dims.slice(axis + 1)], data };
}

export function concat({ inputs, axis }: Concat, operands: Operands): Codes {
  const whole = inputs.map((name) => operands.codes(name));
  const others = broadcastDims(whole.map((p) => p.dims.map((d, i) => (i === axis ? 1 : d))));
  const parts = whole.map((p) =>
    repeat(
      p,
      others.map((d, i) => (i === axis ? (p.dims[i] ?? 1) : d)),
    ),
  );
  const total = parts.reduce((sum, p) => sum + (p.dims[axis] ?? 1), 0);
  const dims = others.map((d, i) => (i === axis ? total : d));
  const inner = sizeOf(dims.slice(axis + 1));
  const outer = sizeOf(dims.slice(0, axis));
  const data = new Int32Array(sizeOf(dims));
  let i = 0;
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const run = (part.dims[axis] ?? 1) * inner;
      data.set(part.data.subarray(o * run, (o + 1) * run), i);
      i += run;
    }
  }
  return { dims, data };
}

function repeat({ dims, data }: Codes, target: readonly number[]): Codes {
  return { dims: target, data: take(data, broadcastIndex(dims, target)) };
}
