/** Movement, pooling by maximum, tables and concatenation on codes. */
import { required } from '../../core/index.js';
import { parseFormat } from '../../formats/index.js';
import { type DType } from '../../tensor/index.js';
import { storageType } from './onnx-writer.js';
import { type Concat, type Move, type Table, type Window, type WindowMax } from './program.js';
import { type WriteScope } from './write-linear.js';

export function writeMove(scope: WriteScope, op: Move, output: string): void {
  const { to } = scope;
  const x = scope.codes(op.x);
  const { movement } = op;
  const vector = (base: string, values: readonly number[]): string =>
    to.constant(base, 'int64', [values.length], values);
  switch (movement.op) {
    case 'reshape':
      to.write('Reshape', [x, vector('shape', movement.shape)], output);
      return;
    case 'transpose':
      to.write('Transpose', [x], output, { perm: movement.permutation });
      return;
    case 'slice': {
      const { starts, ends, axes, steps } = movement;
      to.write(
        'Slice',
        [x, vector('starts', starts), vector('ends', ends), vector('axes', axes), vector('steps', steps)],
        output,
      );
      return;
    }
    case 'pad':
      withBytes(scope, op.x, output, (codes, dtype, result) =>
        to.write('Pad', [codes, vector('pads', movement.pads), to.scalar(dtype, movement.fill)], result),
      );
      return;
    case 'gather': {
      const { axis, indices, scalar } = movement;
      const index = scalar ? to.scalar('int64', indices[0] ?? 0) : vector('indices', indices);
      to.write('Gather', [x, index], output, { axis });
      return;
    }
    case 'expand':
      to.write('Expand', [x, vector('shape', movement.shape)], output);
  }
}

/** Runs an operator that has kernels for bytes and int32 but not for 16 bits. */
function withBytes(
  scope: WriteScope,
  name: string,
  output: string,
  write: (codes: string, dtype: DType, result: string) => void,
): void {
  const { to, program } = scope;
  const dtype = storageType(required(program.values.get(name), name));
  if (!dtype.endsWith('16')) {
    write(scope.codes(name), dtype, output);
    return;
  }
  const wide = to.fresh(`${output}_wide`);
  write(to.cast(scope.codes(name), 'int32'), 'int32', wide);
  to.write('Cast', [wide], output, { to: dtype === 'int16' ? 5 : 4 });
}

export function writeWindowMax(scope: WriteScope, op: WindowMax, output: string): void {
  const { to, program } = scope;
  const value = required(program.values.get(op.x), op.x);
  const dtype = storageType(value);
  const { kernel, strides, pads, dilations } = op.window;
  if (dtype === 'int8' || dtype === 'uint8') {
    to.write('MaxPool', [scope.codes(op.x)], output, { kernel_shape: kernel, strides, pads, dilations });
    return;
  }
  // MaxPool has no kernel for wider integers: the largest of the window's strided slices.
  const { low } = parseFormat(value.format);
  const wide = to.cast(scope.codes(op.x), 'int32');
  const rank = kernel.length;
  const allPads = [0, 0, ...pads.slice(0, rank), 0, 0, ...pads.slice(rank)];
  const padded = pads.some((p) => p !== 0)
    ? to.call(
        'Pad',
        [wide, to.constant('pads', 'int64', [allPads.length], allPads), to.scalar('int32', low)],
        `${wide}_padded`,
      )
    : wide;
  const taps = tapStarts(op.window).map((starts) => sliceFrom(scope, padded, starts, op.window));
  const largest = taps.length === 1 ? (taps[0] ?? wide) : to.call('Max', taps, `${wide}_largest`);
  to.write('Cast', [largest], output, { to: { int16: 5, uint16: 4, int32: 6 }[dtype as 'int16'] });
}

/** Starts of the slices, one a tap. */
function tapStarts({ kernel, dilations }: Window): number[][] {
  return kernel.reduce<number[][]>(
    (starts, extent, axis) =>
      starts.flatMap((start) =>
        Array.from({ length: extent }, (_, k) => [...start, k * (dilations[axis] ?? 1)]),
      ),
    [[]],
  );
}

/** From `start`, every stride-th element as far as the last window reaches. */
function sliceFrom({ to }: WriteScope, x: string, starts: readonly number[], window: Window): string {
  const { kernel, strides, dilations } = window;
  // Negative ends count from the end of the axis: the taps behind this one need room.
  const ends = kernel.map((k, axis) => {
    const behind = (k - 1) * (dilations[axis] ?? 1) - (starts[axis] ?? 0);
    return behind === 0 ? 2 ** 31 : -behind;
  });
  const axes = kernel.map((_, i) => i + 2);
  const vector = (base: string, values: readonly number[]): string =>
    to.constant(base, 'int64', [values.length], values);
  return to.call(
    'Slice',
    [x, vector('starts', starts), vector('ends', ends), vector('axes', axes), vector('steps', strides)],
    `${x}_tap`,
  );
}

export function writeTable(scope: WriteScope, op: Table, output: string): void {
  const { to, program } = scope;
  const { low } = required(program.values.get(op.x), op.x);
  const result = required(program.values.get(op.output), op.output);
  const index = to.add(to.cast(scope.codes(op.x), 'int32'), -low, 'int32');
  const table = to.constant(`${op.node}_table`, storageType(result), [op.table.length], op.table);
  to.write('Gather', [table, index], output, { axis: 0 });
}

export function writeConcat(scope: WriteScope, op: Concat, output: string): void {
  const { to, program } = scope;
  const dtype = storageType(required(program.values.get(op.output), op.output));
  const model = op.inputs.find((name) => program.values.has(name));
  const inputs = op.inputs.map((name) => {
    const constant = program.constants.get(name);
    if (constant === undefined) return scope.codes(name);
    const part = to.constant(name, dtype, constant.dims, constant.codes);
    return model === undefined ? part : repeatLike(scope, part, constant.dims, scope.codes(model), op.axis);
  });
  to.write('Concat', inputs, output, { axis: op.axis });
}

/** A constant repeated to the shape of another part, but for the joined axis. */
function repeatLike(
  { to }: WriteScope,
  constant: string,
  dims: readonly number[],
  like: string,
  axis: number,
): string {
  if (dims.every((d, i) => i === axis || d !== 1)) return constant;
  const shape = to.call('Shape', [like], `${like}_shape`);
  const vector = (values: readonly number[]): string => to.constant('axes', 'int64', [values.length], values);
  const between = (from: number, end: number): string =>
    to.call('Slice', [shape, vector([from]), vector([end])], `${like}_extents`);
  const own = vector([dims[axis] ?? 1]);
  const pieces = [
    ...(axis > 0 ? [between(0, axis)] : []),
    own,
    ...(axis < dims.length - 1 ? [between(axis + 1, dims.length)] : []),
  ];
  const target = to.call('Concat', pieces, `${constant}_shape`, { axis: 0 });
  return to.call('Expand', [constant, target], `${constant}_repeated`);
}
