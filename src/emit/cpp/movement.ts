/** Statements of operations that move codes. */
import { required } from '../../core/index.js';
import { sizeOf, stridesOf } from '../../tensor/index.js';
import { type Concat, type Move } from '../integer/index.js';
import { call } from './literals.js';
import { type CppScope } from './scope.js';

export function move({ x, movement, output }: Move, scope: CppScope): string {
  const dims = scope.dims(x);
  const target = scope.dims(output);
  const [from, to] = [scope.operand(x), scope.identifier(output)];
  const copy = (strides: readonly number[], offset: number): string => {
    scope.use('copy');
    return call('copy_from', [from, to, sizeOf(target), scope.view(target, strides, offset)]);
  };
  const strides = stridesOf(dims);
  switch (movement.op) {
    case 'reshape':
      return `std::copy_n(${from}, ${sizeOf(dims)}, ${to});`;
    case 'transpose':
      return copy(
        movement.permutation.map((axis) => required(strides[axis], 'axis')),
        0,
      );
    case 'expand':
      scope.use('copy');
      return call('copy_from', [from, to, sizeOf(target), scope.broadcast(x, target)]);
    case 'slice': {
      let offset = 0;
      movement.axes.forEach((axis, i) => {
        const extent = required(dims[axis], 'axis');
        const start = movement.starts[i] ?? 0;
        const step = movement.steps[i] ?? 1;
        const first = Math.min(
          Math.max(start < 0 ? start + extent : start, 0),
          step > 0 ? extent : extent - 1,
        );
        offset += first * (strides[axis] ?? 1);
        strides[axis] = step * (strides[axis] ?? 1);
      });
      return copy(strides, offset);
    }
    case 'pad': {
      scope.use('place');
      const wide = stridesOf(target);
      const offset = wide.reduce((at, stride, axis) => at + stride * (movement.pads[axis] ?? 0), 0);
      const place = call('copy_to', [from, to, sizeOf(dims), scope.view(dims, wide, offset)]);
      const type = scope.type(output);
      return `std::fill_n(${to}, ${sizeOf(target)}, ${type}(${movement.fill}));\n  ${place}`;
    }
    case 'gather': {
      scope.use('gather');
      const extent = dims[movement.axis] ?? 1;
      const indices = movement.indices.map((i) => (i < 0 ? i + extent : i));
      return call('gather', [
        from,
        to,
        sizeOf(dims.slice(0, movement.axis)),
        extent,
        strides[movement.axis] ?? 1,
        scope.array(`${output} indices`, 'std::uint32_t', indices),
        indices.length,
      ]);
    }
  }
}

/** Each part goes to its place through the strides of the result. */
export function concat({ inputs, axis, output }: Concat, scope: CppScope): string {
  scope.use('place');
  const target = scope.dims(output);
  const strides = stridesOf(target);
  let at = 0;
  return inputs
    .map((name) => {
      const dims = scope.dims(name);
      const to = scope.view(dims, strides, at * (strides[axis] ?? 1));
      at += dims[axis] ?? 1;
      return call('copy_to', [partOf(name, output, scope), scope.identifier(output), sizeOf(dims), to]);
    })
    .join('\n  ');
}

/** Parts have the type of the result, constants too. */
function partOf(name: string, output: string, scope: CppScope): string {
  const constant = scope.constant(name);
  return constant === undefined
    ? scope.identifier(name)
    : scope.array(name, scope.type(output), constant.codes);
}
