/** Gradients of operators that move elements. */
import { intAttribute, intsAttribute } from '../../onnx/index.js';
import { rankOf, type Value } from '../value.js';
import { input, outputGradient, unary, type GradientRule } from './rule.js';

/** Whatever only renames positions is undone by the input's shape. */
const reshaped = unary((p, g, x) => p.reshapeLike(g, x));

/** The gradient of a Concat is cut where its inputs met. */
const concat: GradientRule = (p, d) => {
  const g = outputGradient(d);
  const parts = d.inputs as readonly Value[];
  const axis = intAttribute(d.node, 'axis', 0);
  const at = axis < 0 ? axis + rankOf(g) : axis;
  const sizes = parts.map((x) => x.dims?.[at]);
  return sizes.every((size) => typeof size === 'number')
    ? p.split(g, sizes, axis)
    : p.split(
        g,
        {
          value: p.concat(
            parts.map((x) => p.sizeAlong(x, axis)),
            0,
          ),
          count: parts.length,
        },
        axis,
      );
};

/** The gradients of a Split's parts are joined; a part nobody read counts as zero. */
const split: GradientRule = (p, d) => [
  p.concat(
    d.outputs.map((y, i) => d.gradients[i] ?? p.fullLike(y as Value, 0)),
    intAttribute(d.node, 'axis', 0),
  ),
];

export const MOVEMENT = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  // The walk sums over what Expand repeated.
  Expand: unary((_p, g) => g),
  Transpose: unary((p, g, x, _y, node) => {
    const perm = intsAttribute(node, 'perm', [...Array(rankOf(x)).keys()].reverse());
    return p.transpose(
      g,
      perm.map((_, i) => perm.indexOf(i)),
    );
  }),
  Concat: concat,
  Split: split,
  Gather: (p, d) => {
    const [x, indices, g] = [input(d, 0), input(d, 1), outputGradient(d)];
    const axis = intAttribute(d.node, 'axis', 0);
    const at = axis < 0 ? axis + rankOf(x) : axis;
    // Rows are added at their indices along the first axis; another axis is brought to the front and back.
    const picked = [...Array(rankOf(indices)).keys()].map((i) => i + at);
    const rest = [...Array(rankOf(g)).keys()].filter((i) => !picked.includes(i));
    const order = [at, ...[...Array(rankOf(x)).keys()].filter((i) => i !== at)];
    const front = at === 0 ? x : p.transpose(x, order);
    const updates = at === 0 ? g : p.transpose(g, [...picked, ...rest]);
    const rows = p.unsqueeze(p.cast(indices, 'int64'), [-1]);
    const sum = p.scatterAddRows(p.fullLike(front, 0), rows, updates);
    return [
      at === 0
        ? sum
        : p.transpose(
            sum,
            order.map((_, i) => order.indexOf(i)),
          ),
    ];
  },
  GatherElements: (p, d) => [
    p.scatterAdd(p.fullLike(input(d, 0), 0), input(d, 1), outputGradient(d), intAttribute(d.node, 'axis', 0)),
  ],
} as const satisfies Record<string, GradientRule>;
