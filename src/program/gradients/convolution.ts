/** Gradients of convolutions. */
import { FxqError } from '../../core/index.js';
import { describeNode, intAttribute, intsAttribute, stringAttribute } from '../../onnx/index.js';
import { sizeOf, tensor } from '../../tensor/index.js';
import { type Program } from '../program.js';
import { allKnown, dimsOf, knownDim, knownDims, rankOf, type Value } from '../value.js';
import { input, outputGradient, type GradientRule } from './rule.js';
import { explicitWindow, leftOver, type ExplicitWindow } from './window.js';

/** Y = X ∗ W + b over windows, in groups. */
const conv: GradientRule = (p, d) => {
  const [x, w, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const [, , ...size] = dimsOf(x);
  const [, , ...kernel] = knownDims(w);
  const window = explicitWindow(d.node, size, kernel);
  const group = intAttribute(d.node, 'group', 1);
  return [
    inputGradient(p, g, w, x, window, group),
    weightGradient(p, g, x, window, group),
    biasGradient(p, g),
  ];
};

/** Σ g over samples and positions. */
function biasGradient(p: Program, g: Value): Value {
  return p.reduceSum(g, channelAxes(g));
}

/** Every axis but the channels'. */
export function channelAxes(x: Value): number[] {
  return [...dimsOf(x).keys()].filter((i) => i !== 1);
}

/**
 * Gradient by the input: for stride 1 a convolution of g with the flipped kernel, which onnxruntime runs faster, for
 * depthwise layers by two thirds, than the transposed convolution that serves every stride (bench/program).
 */
function inputGradient(
  p: Program,
  g: Value,
  w: Value,
  x: Value,
  window: ExplicitWindow,
  group: number,
): Value {
  const extents = window.kernel.map((k, i) => (k - 1) * (window.dilations[i] ?? 1));
  const pads = window.pads.map((pad, i) => (extents[i % extents.length] ?? 0) - pad);
  if (window.strides.every((s) => s === 1) && pads.every((pad) => pad >= 0)) {
    return p.conv(g, flipped(p, w, group), { pads, dilations: window.dilations, group });
  }
  return transposedConv(p, g, w, x, window, group);
}

/** The kernel turned round in space, with input and output channels swapped: [O, C/group, …] to [C, O/group, …]. */
function flipped(p: Program, w: Value, group: number): Value {
  const [out, depth, ...kernel] = knownDims(w) as [number, number, ...number[]];
  const swapped =
    group === 1
      ? p.transpose(w, [1, 0, ...kernel.map((_, i) => i + 2)])
      : p.reshape(
          p.transpose(p.reshape(w, [group, out / group, depth, ...kernel]), [
            0,
            2,
            1,
            ...kernel.map((_, i) => i + 3),
          ]),
          [group * depth, out / group, ...kernel],
        );
  const axes = kernel.flatMap((k, i) => (k > 1 ? [i + 2] : []));
  return axes.length === 0
    ? swapped
    : p.slice(swapped, {
        starts: axes.map(() => -1),
        ends: axes.map(() => -(2 ** 31)),
        axes,
        steps: axes.map(() => -1),
      });
}

/** Transposed convolution with the size of x, the input of the convolution it undoes. */
export function transposedConv(
  p: Program,
  g: Value,
  w: Value,
  x: Value,
  window: ExplicitWindow,
  group: number,
): Value {
  const { strides, dilations, pads } = window;
  const [, , ...size] = dimsOf(x);
  if (allKnown(size)) {
    return p.convTranspose(g, w, { strides, dilations, pads, group, outputPadding: leftOver(window, size) });
  }
  // The largest input that leads to g's size; what is beyond x gets nothing and is cut off.
  const largest = p.convTranspose(g, w, {
    strides,
    dilations,
    pads,
    group,
    outputPadding: strides.map((s) => s - 1),
  });
  const excess = p.sub(p.shapeOf(x), p.shapeOf(largest));
  return p.pad(largest, p.concat([p.int64s(new Array<number>(rankOf(x)).fill(0)), excess], 0), {
    dims: x.dims ?? [],
  });
}

/**
 * Gradient by the weight: with the columns of x, X̃ [N, C/group·k, L], it is Σₙ Gₙ·X̃ₙᵀ. Either the samples' products
 * are summed, or samples and positions become one axis first; whichever moves fewer elements (bench/program).
 */
function weightGradient(p: Program, g: Value, x: Value, window: ExplicitWindow, group: number): Value {
  const channels = knownDim(x, 1);
  const out = knownDim(g, 1);
  const depth = channels / group;
  const taps = sizeOf(window.kernel);
  const columns = p.reshape(im2col(p, x, window), [0, group, depth * taps, -1]);
  const rows = p.reshape(g, [0, group, out / group, -1]);
  const positions = rows.dims?.[3];
  const few = typeof positions === 'number' && positions <= out / group;
  const joined = (v: Value): Value => p.reshape(p.transpose(v, [1, 2, 0, 3]), [0, 0, -1]);
  const product = few
    ? p.matmul(joined(rows), p.transposeLast(joined(columns)))
    : p.reduceSum(p.matmul(rows, p.transposeLast(columns)), [0]);
  return p.reshape(product, [out, depth, ...window.kernel]);
}

/** The elements under each tap of the window as channels [N, C·taps, …], by a convolution with one-hot kernels. */
function im2col(p: Program, x: Value, window: ExplicitWindow): Value {
  const { kernel, strides, dilations, pads } = window;
  const channels = knownDim(x, 1);
  const taps = sizeOf(kernel);
  if (taps === 1 && strides.every((s) => s === 1) && pads.every((pad) => pad === 0)) return x;
  const hot = new Float32Array(channels * taps * taps);
  for (let i = 0; i < channels * taps; i++) hot[i * taps + (i % taps)] = 1;
  const oneHot = p.constant(tensor('float32', [channels * taps, 1, ...kernel], hot));
  return p.conv(x, oneHot, { strides, dilations, pads, group: channels });
}

/**
 * Y = X ∗ᵀ W: a convolution of g is its input gradient, and g takes the place of the input in its weight gradient.
 *
 * @throws FxqError E_UNSUPPORTED where the pads follow from `output_shape` or `auto_pad`
 */
const convTranspose: GradientRule = (p, d) => {
  const [x, w, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const mode = stringAttribute(d.node, 'auto_pad', 'NOTSET');
  if (mode.startsWith('SAME') || d.node.attributes.has('output_shape')) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `there is no gradient rule for the computed pads of ${describeNode(d.node)}`,
      'Export the model with explicit pads.',
    );
  }
  const [, , ...kernel] = knownDims(w);
  const ones = kernel.map(() => 1);
  const zeros = [...kernel, ...kernel].map(() => 0);
  const padding = intsAttribute(d.node, 'output_padding', []);
  // Output padding extends g at the end, where the convolution back reads nothing.
  const pads = intsAttribute(d.node, 'pads', zeros).map(
    (pad, i) => pad - (i < kernel.length ? 0 : (padding[i - kernel.length] ?? 0)),
  );
  const window: ExplicitWindow = {
    kernel,
    strides: intsAttribute(d.node, 'strides', ones),
    dilations: intsAttribute(d.node, 'dilations', ones),
    pads: pads.map((pad) => Math.max(pad, 0)),
  };
  const group = intAttribute(d.node, 'group', 1);
  const negative = pads.map((pad) => Math.min(pad, 0));
  // A pad below zero cuts g instead.
  const cut = negative.some((pad) => pad < 0)
    ? p.pad(g, [0, 0, ...negative.slice(0, kernel.length), 0, 0, ...negative.slice(kernel.length)])
    : g;
  return [
    p.conv(cut, w, { strides: window.strides, dilations: window.dilations, pads: window.pads, group }),
    weightGradient(p, x, cut, window, group),
    biasGradient(p, g),
  ];
};

export const CONVOLUTION = {
  Conv: conv,
  ConvTranspose: convTranspose,
} as const satisfies Record<string, GradientRule>;
