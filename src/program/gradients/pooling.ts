/** Gradients of pooling and resizing: linear maps of positions. */
import { FxqError } from '../../core/index.js';
import { describeNode, intsAttribute, stringAttribute, type Attribute } from '../../onnx/index.js';
import { type Program } from '../program.js';
import { allKnown, dimsOf, rankOf, type Value } from '../value.js';
import { transposedConv } from './convolution.js';
import { input, output, outputGradient, unary, type Differentiation, type GradientRule } from './rule.js';
import { explicitWindow } from './window.js';

/** x [N, C, …] as [N·C, 1, …]: pooling treats every channel alike. */
function channelsAsSamples(p: Program, x: Value): Value {
  const [, , ...size] = dimsOf(x);
  if (allKnown(size)) return p.reshape(x, [-1, 1, ...size]);
  const spatial = p.slice(p.shapeOf(x), { starts: [2], ends: [rankOf(x)] });
  return p.reshape(x, p.concat([p.int64s([-1, 1]), spatial], 0), [null, 1, ...size]);
}

/** The axes after samples and channels. */
function spatialAxes(x: Value): number[] {
  return [...dimsOf(x).keys()].slice(2);
}

/** Each output's gradient is shared among the elements it averaged: a transposed convolution with ones. */
const averagePool: GradientRule = (p, d) => {
  const [x, g] = [input(d, 0), outputGradient(d)];
  const [, , ...size] = dimsOf(x);
  const window = explicitWindow(d.node, size, intsAttribute(d.node, 'kernel_shape', []));
  const { kernel, strides, dilations, pads } = window;
  const ones = p.full([1, 1, ...kernel], 1, g.dtype);
  // Every element has the same weight in its window: the average of ones over the number of those that count.
  const probe = allKnown(size)
    ? p.full([1, 1, ...size], 1, x.dtype)
    : p.fullLike(p.slice(x, { starts: [0, 0], ends: [1, 1] }), 1);
  const average = p.tape.op(
    'AveragePool',
    [probe],
    { dtype: x.dtype, dims: [1, 1, ...dimsOf(g).slice(2)] },
    Object.fromEntries(d.node.attributes),
  );
  const weight = p.div(average, p.conv(probe, ones, { strides, dilations, pads }));
  const shared = channelsAsSamples(p, p.mul(g, weight));
  return [p.reshapeLike(transposedConv(p, shared, ones, channelsAsSamples(p, x), window, 1), x)];
};

/** Each output's gradient goes to the element it took, the first one where several are largest. */
const maxPool: GradientRule = (p, d) => {
  const [x, g, y] = [input(d, 0), outputGradient(d), output(d)];
  // Indices count rows first, whatever order the node asks for.
  const attributes = { ...Object.fromEntries(d.node.attributes), storage_order: 0 };
  const [, indices] = p.tape.ops('MaxPool', [x], [y, { dtype: 'int64', dims: y.dims }], attributes) as [
    Value,
    Value,
  ];
  const zeros = p.flat(p.fullLike(x, 0));
  return [p.reshapeLike(p.scatterAdd(zeros, p.flat(indices), p.flat(g)), x)];
};

/** Equal parts for all positions; the walk spreads them. */
const globalAveragePool = unary((p, g, x) => {
  const sizes = spatialAxes(x).map((axis) => p.sizeAlong(x, axis));
  return p.div(
    g,
    p.cast(
      sizes.reduce((a, b) => p.mul(a, b)),
      x.dtype,
    ),
  );
});

/** As ReduceMax. */
const globalMaxPool = unary((p, g, x, y) => {
  const hit = p.cast(p.equal(x, y), x.dtype);
  return p.mul(hit, p.div(g, p.reduceSum(hit, spatialAxes(x), true)));
});

/**
 * Resizing is one matrix an axis: y = R·x. Resizing the identity gives Rᵀ itself, with the runtime's own rounding of
 * coordinates, and dx = Rᵀ·g.
 */
const resize: GradientRule = (p, d) => {
  const [x, y] = [input(d, 0), output(d)];
  refuse(d, 'coordinate_transformation_mode', 'half_pixel', ['tf_crop_and_resize']);
  refuse(d, 'keep_aspect_ratio_policy', 'stretch', ['not_larger', 'not_smaller']);
  let g = outputGradient(d);
  for (const axis of dimsOf(x).keys()) {
    const [from, to] = [dimsOf(x)[axis], dimsOf(y)[axis]];
    if (from === to && (from !== null || axis < 2)) continue;
    const matrix = resizeMatrix(p, d, axis);
    const last = rankOf(x) - 1;
    if (axis === last) g = p.matmul(g, p.transposeLast(matrix));
    else if (axis === last - 1) g = p.matmul(matrix, g);
    else {
      const swap = [...dimsOf(x).keys()].map((i) => (i === axis ? last : i === last ? axis : i));
      g = p.transpose(p.matmul(p.transpose(g, swap), p.transposeLast(matrix)), swap);
    }
  }
  return [g];
};

/** Fails where an attribute has a value that the rule does not cover. */
function refuse(d: Differentiation, name: string, fallback: string, values: readonly string[]): void {
  const value = stringAttribute(d.node, name, fallback);
  if (!values.includes(value)) return;
  throw new FxqError(
    'E_UNSUPPORTED',
    `there is no gradient rule for ${name} ${value} of ${describeNode(d.node)}`,
  );
}

/** Rᵀ [size of x, size of y] along an axis. */
function resizeMatrix(p: Program, d: Differentiation, axis: number): Value {
  const [x, y] = [input(d, 0), output(d)];
  const [size, resized] = [dimsOf(x)[axis] ?? null, dimsOf(y)[axis] ?? null];
  const length = p.sizeAlong(x, axis);
  const eye = p.tape.op('EyeLike', [p.full(p.concat([length, length], 0), 0)], {
    dtype: 'float32',
    dims: [size, size],
  });
  const [, , scales, sizes] = d.inputs;
  const axes = intsAttribute(d.node, 'axes');
  const at = p.int64s([axes === undefined ? axis : axes.indexOf(axis)]);
  // The identity is one sample with a channel for every element of the axis, which becomes the height.
  const target =
    sizes === undefined
      ? p.concat([p.vector([1, 1]), p.gather(scales as Value, at), p.vector([1])], 0)
      : p.concat([p.int64s([1]), length, p.gather(sizes, at), p.int64s([1])], 0);
  const attributes = new Map<string, Attribute>(d.node.attributes);
  attributes.delete('axes');
  const columns = p.tape.op(
    'Resize',
    [p.unsqueeze(eye, [0, 3]), undefined, ...(sizes === undefined ? [target] : [undefined, target])],
    { dtype: 'float32', dims: [1, size, resized, 1] },
    Object.fromEntries(attributes),
  );
  return p.squeeze(columns, [0, 3]);
}

export const POOLING = {
  AveragePool: averagePool,
  MaxPool: maxPool,
  GlobalAveragePool: globalAveragePool,
  GlobalMaxPool: globalMaxPool,
  Resize: resize,
} as const satisfies Record<string, GradientRule>;
