/** Values of a tensor program: a name with element type and shape, and what is known about shapes before running. */
import { FxqError } from '../core/index.js';
import { type Dim } from '../onnx/index.js';
import { type DType } from '../tensor/index.js';

/** What is known of a value before it is computed. `dims` is undefined when even the rank is unknown. */
export interface ValueType {
  readonly dtype: DType;
  readonly dims: readonly Dim[] | undefined;
}

/** A value of a program. Made by the builder only; identified by its name, which no other value of the program has. */
export interface Value extends ValueType {
  readonly name: string;
}

/** Where an operator takes a tensor, a number stands for a scalar constant of the other operand's element type. */
export type Operand = Value | number;

const FLOATS: ReadonlySet<DType> = new Set<DType>(['float32', 'float64', 'float16', 'bfloat16']);

/** Whether a value can carry a gradient. */
export function isFloat(value: ValueType): boolean {
  return FLOATS.has(value.dtype);
}

/** Rank of a value whose rank must be known. */
export function rankOf(value: Value): number {
  return dimsOf(value).length;
}

/**
 * Dimensions of a value whose rank must be known.
 *
 * @throws FxqError E_UNSUPPORTED naming the value
 */
export function dimsOf(value: Value): readonly Dim[] {
  if (value.dims === undefined) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `the rank of value '${value.name}' is not known before running`,
      'Simplify the model so that its shapes can be inferred.',
    );
  }
  return value.dims;
}

/**
 * Dimensions of a value whose shape must be known in full.
 *
 * @throws FxqError E_UNSUPPORTED naming the value
 */
export function knownDims(value: Value): readonly number[] {
  const dims = dimsOf(value);
  if (!allKnown(dims)) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `the shape of value '${value.name}' is [${dims.join(', ')}], but its size must be known before running`,
      'Fix the symbolic dimensions of the model.',
    );
  }
  return dims;
}

/** Size of one axis, which must be known. */
export function knownDim(value: Value, axis: number): number {
  const dim = dimsOf(value)[axis];
  if (typeof dim !== 'number') {
    throw new FxqError(
      'E_UNSUPPORTED',
      `axis ${axis} of value '${value.name}' is ${String(dim)}, but its size must be known before running`,
      'Fix the symbolic dimensions of the model.',
    );
  }
  return dim;
}

export function allKnown(dims: readonly Dim[] | undefined): dims is readonly number[] {
  return dims?.every((d) => typeof d === 'number') ?? false;
}

/** Axes counted from the front. */
export function normalizeAxes(axes: readonly number[], rank: number): number[] {
  return axes.map((axis) => (axis < 0 ? axis + rank : axis));
}

/** Whether two shapes are surely the same: equal sizes or the same symbol everywhere. */
export function sameShape(a: readonly Dim[] | undefined, b: readonly Dim[] | undefined): boolean {
  return (
    a !== undefined && b !== undefined && a.length === b.length && a.every((d, i) => d !== null && d === b[i])
  );
}

/**
 * Shape of an element-wise result (ONNX multidirectional broadcasting).
 *
 * @throws FxqError E_INTERNAL when known sizes disagree; `what` names the operator
 */
export function broadcastDims(types: readonly ValueType[], what: string): readonly Dim[] | undefined {
  const shapes = types.flatMap((t) => (t.dims === undefined ? [] : [t.dims]));
  if (shapes.length < types.length) return undefined;
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, i) =>
    shapes
      .map((s): Dim => {
        const at = i - (rank - s.length);
        return at < 0 ? 1 : (s[at] ?? null);
      })
      .reduce((a, b) => {
        if (typeof a === 'number' && typeof b === 'number' && a !== b && a !== 1 && b !== 1)
          throw mismatch(what, types);
        return broadcastDim(a, b);
      }, 1),
  );
}

function broadcastDim(a: Dim, b: Dim): Dim {
  if (a === b || b === 1) return a;
  if (a === 1) return b;
  // A symbol beside a size other than 1 is 1 or that size: the result is the size either way.
  if (typeof a === 'number') return a;
  return typeof b === 'number' ? b : null;
}

/** The error for operands whose shapes do not fit together. */
export function mismatch(what: string, types: readonly ValueType[]): FxqError {
  return new FxqError('E_INTERNAL', `internal: ${what} of ${types.map(describeType).join(' and ')}`);
}

/** The shape as text for messages, `float32[N, 64]`. */
export function describeType(type: ValueType): string {
  return `${type.dtype}[${type.dims?.map((d) => d ?? '?').join(', ') ?? '…'}]`;
}
