/** Integer values computed from shapes, element by element: numbers where dimensions are known, symbols where not. */
import { dtypeCode, sizeOf, toNumbers, type DType } from '../tensor/index.js';
import { intAttribute, intsAttribute, type Node } from '../onnx/index.js';
import { type Scope } from './scope.js';

/** A size that is only known by name: two of the same name are equal, and none is negative. */
export interface Size {
  readonly size: string;
}

/** Undefined when nothing is known. */
export type Element = number | Size | undefined;

/** A scalar or vector of integers or booleans (0 and 1). */
export interface ShapeValue {
  readonly isScalar: boolean;
  readonly elements: readonly Element[];
}

export function isSize(element: Element): element is Size {
  return typeof element === 'object';
}

/** Values longer than this are no shapes. */
const LONGEST = 64;

type Lookup = (value: string) => ShapeValue | undefined;

/** A constant as a shape value; undefined for floats and larger tensors. */
export function constantShapeValue(name: string, scope: Scope): ShapeValue | undefined {
  const stored = scope.constant(name);
  const isInteger = stored?.dtype === 'int64' || stored?.dtype === 'int32';
  if (!isInteger || stored.dims.length > 1 || sizeOf(stored.dims) > LONGEST) return undefined;
  const constant = scope.constantTensor(name);
  return constant && { isScalar: constant.dims.length === 0, elements: toNumbers(constant) };
}

/** What a node's first output is known to hold, from what its inputs are known to hold. */
export function evaluateShapeValue(node: Node, scope: Scope, lookup: Lookup): ShapeValue | undefined {
  return node.domain === '' ? EVALUATORS.get(node.opType)?.(node, scope, lookup) : undefined;
}

type Evaluator = (node: Node, scope: Scope, lookup: Lookup) => ShapeValue | undefined;

const vector = (elements: readonly Element[]): ShapeValue => ({ isScalar: false, elements });

const shape: Evaluator = (node, scope) => {
  const name = node.inputs[0] ?? '';
  const dims = scope.type(name)?.dims;
  const elements = dims?.map((d, axis): Element => {
    if (typeof d === 'number') return d;
    return { size: d ?? `${name}#${axis}` };
  });
  return (
    elements &&
    vector(elements.slice(intAttribute(node, 'start', 0), intAttribute(node, 'end', elements.length)))
  );
};

const gather: Evaluator = (node, _scope, lookup) => {
  const data = lookup(node.inputs[0] ?? '');
  const indices = lookup(node.inputs[1] ?? '');
  if (data === undefined || data.isScalar || indices === undefined) return undefined;
  const at = (index: Element): Element => (typeof index === 'number' ? data.elements.at(index) : undefined);
  return { isScalar: indices.isScalar, elements: indices.elements.map(at) };
};

const slice: Evaluator = (node, _scope, lookup) => {
  const data = lookup(node.inputs[0] ?? '');
  const known = (input: number, attribute: string): number | undefined => {
    const given = node.inputs[input] ? lookup(node.inputs[input])?.elements : intsAttribute(node, attribute);
    return typeof given?.[0] === 'number' && given.length === 1 ? given[0] : undefined;
  };
  const start = known(1, 'starts');
  const end = known(2, 'ends');
  const step = node.inputs[4] ? known(4, 'steps') : 1;
  if (data === undefined || data.isScalar || start === undefined || end === undefined || step !== 1)
    return undefined;
  return vector(data.elements.slice(start, end));
};

const pass: Evaluator = (node, _scope, lookup) => lookup(node.inputs[0] ?? '');

const cast: Evaluator = (node, scope, lookup) => {
  const to = intAttribute(node, 'to', 0);
  return to === dtypeCode('int64') || to === dtypeCode('int32') ? pass(node, scope, lookup) : undefined;
};

/** Scalar to vector of one and back; anything of higher rank is no shape. */
const withRank =
  (isScalar: (before: ShapeValue, target: ShapeValue | undefined) => boolean | undefined): Evaluator =>
  (node, _scope, lookup) => {
    const data = lookup(node.inputs[0] ?? '');
    const scalar = data && isScalar(data, lookup(node.inputs[1] ?? ''));
    return scalar === undefined ? undefined : data && { isScalar: scalar, elements: data.elements };
  };

const concat: Evaluator = (node, _scope, lookup) => {
  const parts = node.inputs.map(lookup);
  return parts.every((part) => part !== undefined)
    ? vector(parts.flatMap((part) => part.elements))
    : undefined;
};

const elementwise =
  (combine: (a: Element, b: Element) => Element): Evaluator =>
  (node, _scope, lookup) => {
    const [a, b] = [lookup(node.inputs[0] ?? ''), lookup(node.inputs[1] ?? '')];
    if (a === undefined || b === undefined) return undefined;
    const length = Math.max(a.elements.length, b.elements.length);
    const at = ({ elements }: ShapeValue, i: number): Element => elements[elements.length === 1 ? 0 : i];
    return {
      isScalar: a.isScalar && b.isScalar,
      elements: Array.from({ length }, (_, i) => combine(at(a, i), at(b, i))),
    };
  };

/** Sums and products of sizes are sizes again; the name says of what. */
const ofSizes =
  (symbol: string, neutral: number, compute: (a: number, b: number) => number) =>
  (a: Element, b: Element): Element => {
    if (a === neutral) return b;
    if (b === neutral) return a;
    if (typeof a === 'number' && typeof b === 'number') return compute(a, b);
    const [left, right] = [a, b].map((e) =>
      isSize(e) ? e.size : e !== undefined && e >= 0 ? String(e) : undefined,
    );
    return left === undefined || right === undefined ? undefined : { size: `(${left} ${symbol} ${right})` };
  };

const ofNumbers =
  (compute: (a: number, b: number) => number) =>
  (a: Element, b: Element): Element =>
    typeof a === 'number' && typeof b === 'number' ? compute(a, b) : undefined;

/** A size is never equal to a negative number, and always to itself. */
const equal = (a: Element, b: Element): Element => {
  if (typeof a === 'number' && typeof b === 'number') return a === b ? 1 : 0;
  if (isSize(a) && isSize(b)) return a.size === b.size ? 1 : undefined;
  return [a, b].some((e) => typeof e === 'number' && e < 0) && [a, b].some(isSize) ? 0 : undefined;
};

const EVALUATORS: ReadonlyMap<string, Evaluator> = new Map(
  Object.entries({
    Add: elementwise(ofSizes('+', 0, (a, b) => a + b)),
    Cast: cast,
    Concat: concat,
    // Integer division truncates.
    Div: elementwise(ofNumbers((a, b) => (b === 0 ? NaN : Math.trunc(a / b)))),
    Equal: elementwise(equal),
    Gather: gather,
    Identity: pass,
    Mul: elementwise(ofSizes('·', 1, (a, b) => a * b)),
    Reshape: withRank((_, target) =>
      target === undefined || target.elements.length > 1 ? undefined : target.elements.length === 0,
    ),
    Shape: shape,
    Slice: slice,
    Squeeze: withRank((data) => (data.elements.length === 1 ? true : undefined)),
    Sub: elementwise(ofNumbers((a, b) => a - b)),
    Unsqueeze: withRank((data) => (data.isScalar ? false : undefined)),
  } satisfies Record<string, Evaluator>),
);

/** Element types a shape value can be stored as. */
export function isShapeType(dtype: DType | 'string' | undefined): dtype is 'int64' | 'int32' | 'bool' {
  return dtype === 'int64' || dtype === 'int32' || dtype === 'bool';
}
