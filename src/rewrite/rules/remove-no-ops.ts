/** Replaces `NoOp(x)` with `x`: Identity, Dropout, and operators that are exactly one for the types and constants given. */
import { intAttribute, intsAttribute, type Dim, type Node } from '../../onnx/index.js';
import { dtypeCode, toNumbers } from '../../tensor/index.js';
import { realsOf } from '../constants.js';
import { refuse, rule, type Refusal } from '../rule.js';
import { type Scope } from '../scope.js';

interface Match {
  readonly node: Node;
  readonly input: string;
  readonly output: string;
}

/** Index of the input that a node passes on as it is, or undefined when it does something. */
type NoOp = (node: Node, scope: Scope) => number | undefined;

const first = (isNoOp: boolean): number | undefined => (isNoOp ? 0 : undefined);

/** Dimensions known to be equal: the same number or the same symbol. */
function isSameShape(a: readonly Dim[] | undefined, b: readonly Dim[] | undefined): boolean {
  return (
    a !== undefined && b !== undefined && a.length === b.length && a.every((d, i) => d !== null && d === b[i])
  );
}

const keepsShape: NoOp = (node, scope) =>
  first(isSameShape(scope.type(node.inputs[0] ?? '')?.dims, scope.type(node.outputs[0] ?? '')?.dims));

/** Integers of an input, or of the attribute that held them in earlier opsets. */
function integers(node: Node, input: number, attribute: string, scope: Scope): readonly number[] | undefined {
  const name = node.inputs[input] ?? '';
  if (name === '') return intsAttribute(node, attribute);
  const constant = scope.constantTensor(name);
  return constant === undefined ? undefined : toNumbers(constant);
}

/** x ∘ c where c is the operation's neutral element and does not broadcast x to a larger shape. */
const neutral =
  (element: number, sides: readonly number[]): NoOp =>
  (node, scope) =>
    sides.find((side) => {
      const constant = scope.constantTensor(node.inputs[1 - side] ?? '');
      const rank = scope.type(node.inputs[side] ?? '')?.dims?.length ?? 0;
      return (
        constant !== undefined &&
        constant.dims.length <= rank &&
        constant.dims.every((d) => d === 1) &&
        realsOf(constant)?.[0] === element
      );
    });

const single: NoOp = (node) => first(node.inputs.length === 1);

/** Beyond any dimension: exporters write the end of an open slice as the largest int32 or int64. */
const OPEN_END = 2 ** 31 - 1;

const slice: NoOp = (node, scope) => {
  const starts = integers(node, 1, 'starts', scope);
  const ends = integers(node, 2, 'ends', scope);
  const steps = node.inputs[4] ? integers(node, 4, 'steps', scope) : [];
  const axes =
    node.inputs[3] || node.attributes.has('axes')
      ? integers(node, 3, 'axes', scope)
      : starts?.map((_, i) => i);
  const dims = scope.type(node.inputs[0] ?? '')?.dims;
  if (starts === undefined || ends === undefined || steps === undefined || axes === undefined)
    return undefined;
  const isWhole = axes.every((axis, i) => {
    const dim = dims?.[axis < 0 ? axis + dims.length : axis];
    const end = ends[i] ?? 0;
    return starts[i] === 0 && (end >= OPEN_END || (typeof dim === 'number' && end >= dim));
  });
  return first(isWhole && steps.every((step) => step === 1));
};

/** A constant condition that always takes the side whose shape is the result's. */
const where: NoOp = (node, scope) => {
  const condition = scope.constantTensor(node.inputs[0] ?? '')?.data;
  const taken = condition?.every((c) => c === 0) ? 2 : condition?.every((c) => c === 1) ? 1 : undefined;
  if (taken === undefined) return undefined;
  const dims = scope.type(node.inputs[taken] ?? '')?.dims;
  return isSameShape(dims, scope.type(node.outputs[0] ?? '')?.dims) ? taken : undefined;
};

const NO_OPS = {
  Add: neutral(0, [0, 1]),
  Cast: (node, scope) => {
    const dtype = scope.type(node.inputs[0] ?? '')?.dtype;
    return first(dtype !== undefined && dtype !== 'string' && dtypeCode(dtype) === intAttribute(node, 'to'));
  },
  Concat: single,
  Div: neutral(1, [0]),
  Dropout: (node, scope) => {
    const training = node.inputs[2] ?? '';
    return first(training === '' || scope.constantTensor(training)?.data[0] === 0);
  },
  Expand: keepsShape,
  Flatten: keepsShape,
  Identity: () => 0,
  Max: single,
  Mean: single,
  Min: single,
  Mul: neutral(1, [0, 1]),
  Pad: (node, scope) => first(integers(node, 1, 'pads', scope)?.every((p) => p === 0) ?? false),
  Reshape: keepsShape,
  Slice: slice,
  Sub: neutral(0, [0]),
  Sum: single,
  Tile: (node, scope) => first(integers(node, 1, 'repeats', scope)?.every((r) => r === 1) ?? false),
  Transpose: (node) => first(intsAttribute(node, 'perm')?.every((axis, i) => axis === i) ?? false),
  Where: where,
} as const satisfies Record<string, NoOp>;

const TESTS: ReadonlyMap<string, NoOp> = new Map(Object.entries<NoOp>(NO_OPS));

export const removeNoOps = rule<Match, Match>({
  name: 'remove-no-ops',

  pattern: (node, scope) => {
    const index = node.domain === '' ? TESTS.get(node.opType)?.(node, scope) : undefined;
    if (index === undefined) return undefined;
    const match = { node, input: node.inputs[index] ?? '', output: node.outputs[0] ?? '' };
    // Between an input, a constant or an outer value and a graph output, a node is needed to give the output its name.
    const isNaming =
      scope.graph.isGraphOutput(match.output) && scope.graph.producer(match.input) === undefined;
    return isNaming ? undefined : match;
  },

  check: (match, { graph }): Match | Refusal => {
    const { node, input, output } = match;
    const mask = node.outputs[1] ?? '';
    if (mask !== '' && (graph.isGraphOutput(mask) || graph.consumers(mask).length > 0))
      return refuse(`its second output '${mask}' is read`);
    if (!graph.isGraphOutput(output)) return match;
    return graph.isGraphOutput(input) ? refuse(`'${input}' and '${output}' are both graph outputs`) : match;
  },

  rewrite: ({ node, input, output }, { graph }) => {
    graph.remove(node);
    const producer = graph.producer(input);
    if (!graph.isGraphOutput(output) || producer === undefined) {
      graph.redirect(output, input);
      return;
    }
    // A graph output keeps its name, so the value in front of it takes that name.
    graph.redirect(input, output);
    graph.replace(producer, {
      ...producer,
      outputs: producer.outputs.map((o) => (o === input ? output : o)),
    });
  },
});
