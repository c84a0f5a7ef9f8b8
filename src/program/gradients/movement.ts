/** Gradients of operators that move elements. */
import { intAttribute, intsAttribute, stringAttribute } from '../../onnx/index.js';
import { tensor, toNumbers } from '../../tensor/index.js';
import { type Program } from '../program.js';
import { dimsOf, knownDim, normalizeAxes, rankOf, type Value } from '../value.js';
import { input, outputGradient, unary, type Differentiation, type GradientRule } from './rule.js';

/** Whatever only renames positions is undone by the input's shape. */
const reshaped = unary((p, g, x) => p.reshapeLike(g, x));

function axesOf(x: Value): number[] {
  return [...Array(rankOf(x)).keys()];
}

function inverse(perm: readonly number[]): number[] {
  return perm.map((_, i) => perm.indexOf(i));
}

/**
 * The gradient of any operator that only picks elements: it is applied to the positions of x instead of its elements,
 * and g is added at the positions found.
 */
function addAtPositions(p: Program, x: Value, g: Value, pick: (positions: Value) => Value): Value {
  const positions = pick(p.reshapeLike(p.range(p.sizeOf(x)), x));
  return p.reshapeLike(p.scatterAdd(p.flat(p.fullLike(x, 0)), p.flat(positions), p.flat(g)), x);
}

/** The node itself on other first operands, with the rest of its inputs and its attributes. */
function again(p: Program, d: Differentiation, x: Value, like: Value): Value {
  const rest = d.inputs.slice(1);
  return p.tape.op(
    d.node.opType,
    [x, ...rest],
    { dtype: x.dtype, dims: like.dims },
    Object.fromEntries(d.node.attributes),
  );
}

/** The gradient of a Concat is cut where its inputs met. */
const concat: GradientRule = (p, d) => {
  const g = outputGradient(d);
  const parts = d.inputs as readonly Value[];
  const axis = intAttribute(d.node, 'axis', 0);
  const at = axis < 0 ? axis + rankOf(g) : axis;
  const sizes = parts.map((x) => x.dims?.[at]);
  if (sizes.every((size) => typeof size === 'number')) return p.split(g, sizes, axis);
  const lengths = parts.map((x) => p.sizeAlong(x, at));
  return p.split(g, { value: p.concat(lengths, 0), count: parts.length }, axis);
};

/** The gradients of a Split's parts are joined; a part nobody read counts as zero. */
const split: GradientRule = (p, d) => [
  p.concat(
    d.outputs.map((y, i) => d.gradients[i] ?? p.fullLike(y as Value, 0)),
    intAttribute(d.node, 'axis', 0),
  ),
];

/** A slice of step 1 is undone by zeros around it, any other by adding at the positions it took. */
const slice: GradientRule = (p, d) => {
  const [x, g] = [input(d, 0), outputGradient(d)];
  const pads = slicePads(p, d);
  return [
    pads === undefined
      ? addAtPositions(p, x, g, (positions) => again(p, d, positions, g))
      : p.pad(g, pads, { dims: dimsOf(x) }),
  ];
};

/** What a slice cut off on either side, where that is known; undefined where it skips or depends on running. */
function slicePads(p: Program, d: Differentiation): number[] | undefined {
  const x = input(d, 0);
  const [starts, ends, axes, steps] = [1, 2, 3, 4].map((i) => ints(p, d.inputs[i]));
  if (starts === undefined || ends === undefined || steps?.some((s) => s !== 1)) return undefined;
  if ((d.inputs[3] !== undefined && axes === undefined) || (d.inputs[4] !== undefined && steps === undefined))
    return undefined;
  const pads = new Array<number>(2 * rankOf(x)).fill(0);
  for (const [i, axis] of normalizeAxes(axes ?? starts.map((_, k) => k), rankOf(x)).entries()) {
    const size = dimsOf(x)[axis];
    if (typeof size !== 'number') return undefined;
    const clamp = (v = 0): number => Math.min(Math.max(v < 0 ? v + size : v, 0), size);
    pads[axis] = clamp(starts[i]);
    pads[axis + rankOf(x)] = size - Math.max(clamp(ends[i]), clamp(starts[i]));
  }
  return pads;
}

/** Elements of an integer constant. */
function ints(p: Program, v: Value | undefined): number[] | undefined {
  const constant = p.tape.constantOf(v);
  return constant === undefined ? undefined : toNumbers(constant);
}

/** Pads are cut off again; what was padded with gets the rest. Mirrored or repeated elements add up. */
const pad: GradientRule = (p, d) => {
  const [x, pads, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  if (stringAttribute(d.node, 'mode', 'constant') !== 'constant') {
    return [addAtPositions(p, x, g, (positions) => again(p, d, positions, g))];
  }
  const known = p.tape.constantOf(pads);
  const cut =
    known === undefined
      ? p.neg(pads)
      : p.constant(
          tensor(
            'int64',
            known.dims,
            toNumbers(known).map((v) => -v),
          ),
        );
  const axes = d.inputs[3];
  const dx = p.tape.op('Pad', axes === undefined ? [g, cut] : [g, cut, undefined, axes], x);
  return [dx, undefined, p.sub(p.reduceSum(g), p.reduceSum(dx))];
};

/** Rows are added at their indices along the first axis; another axis is brought to the front and back. */
const gather: GradientRule = (p, d) => {
  const [x, indices, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const [at] = normalizeAxes([intAttribute(d.node, 'axis', 0)], rankOf(x)) as [number];
  const rows = p.unsqueeze(p.cast(indices, 'int64'), [-1]);
  if (at === 0) return [p.scatterAddRows(p.fullLike(x, 0), rows, g)];
  const picked = axesOf(indices).map((i) => i + at);
  const rest = axesOf(g).filter((i) => !picked.includes(i));
  const order = [at, ...axesOf(x).filter((i) => i !== at)];
  const sum = p.scatterAddRows(
    p.fullLike(p.transpose(x, order), 0),
    rows,
    p.transpose(g, [...picked, ...rest]),
  );
  return [p.transpose(sum, inverse(order))];
};

/** Repeats become axes of their own and are summed. */
const tile: GradientRule = (p, d) => {
  const [x, repeats, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const pairs = p.concat([p.unsqueeze(repeats, [1]), p.unsqueeze(p.shapeOf(x), [1])], 1);
  const apart = p.reshape(g, p.flat(pairs), new Array<null>(2 * rankOf(x)).fill(null));
  return [
    p.reshapeLike(
      p.reduceSum(
        apart,
        axesOf(x).map((i) => 2 * i),
      ),
      x,
    ),
  ];
};

/** Blocks of b×b channels become pixels; the way back reads them in the same order. */
const depthToSpace: GradientRule = (p, d) => {
  const [x, g] = [input(d, 0), outputGradient(d)];
  const b = intAttribute(d.node, 'blocksize', 1);
  const [channels, height, width] = [knownDim(x, 1), knownDim(x, 2), knownDim(x, 3)];
  const pixels = p.reshape(g, [-1, channels / (b * b), height, b, width, b]);
  const order = stringAttribute(d.node, 'mode', 'DCR') === 'CRD' ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
  return [p.reshapeLike(p.transpose(pixels, order), x)];
};

export const MOVEMENT = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  // The walk sums over what Expand repeated.
  Expand: unary((_p, g) => g),
  Transpose: unary((p, g, x, _y, node) =>
    p.transpose(g, inverse(intsAttribute(node, 'perm', axesOf(x).reverse()))),
  ),
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Tile: tile,
  Gather: gather,
  GatherElements: (p, d) => [
    p.scatterAdd(p.fullLike(input(d, 0), 0), input(d, 1), outputGradient(d), intAttribute(d.node, 'axis', 0)),
  ],
  GatherND: (p, d) => [
    addAtPositions(p, input(d, 0), outputGradient(d), (positions) =>
      again(p, d, positions, outputGradient(d)),
    ),
  ],
  DepthToSpace: depthToSpace,
  SpaceToDepth: unary((p, g, x, _y, node) =>
    p.tape.op('DepthToSpace', [g], x, { blocksize: intAttribute(node, 'blocksize', 1), mode: 'DCR' }),
  ),
  Trilu: (p, d) => [again(p, d, outputGradient(d), input(d, 0))],
} as const satisfies Record<string, GradientRule>;
