/** Gradients of normalizations, by x̂ = (x − mean)·r with r = 1/√(variance + ε). */
import { FxqError } from '../../core/index.js';
import { describeNode, floatAttribute, intAttribute } from '../../onnx/index.js';
import { type Program } from '../program.js';
import { dimsOf, rankOf, type Value } from '../value.js';
import { channelAxes } from './convolution.js';
import { input, outputGradient, type Differentiation, type GradientRule } from './rule.js';

/** x̂, and the gradient by x of a value whose gradient by x̂ is h: r·(h − mean h − x̂·mean(h·x̂)), means over the axes. */
function standardize(p: Program, x: Value, axes: readonly number[], epsilon: number) {
  const centered = p.sub(x, p.reduceMean(x, axes, true));
  const r = p.reciprocal(p.sqrt(p.add(p.reduceMean(p.square(centered), axes, true), epsilon)));
  const standard = p.mul(centered, r);
  const pullBack = (h: Value): Value => {
    const along = p.mul(standard, p.reduceMean(p.mul(h, standard), axes, true));
    return p.mul(r, p.sub(p.sub(h, p.reduceMean(h, axes, true)), along));
  };
  return { standard, pullBack };
}

/** y = x̂·scale + bias over the axes from `axis` on. */
const layerNormalization: GradientRule = (p, d) => {
  const [x, scale, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const { standard, pullBack } = standardize(
    p,
    x,
    normalizedAxes(d, x),
    floatAttribute(d.node, 'epsilon', 1e-5),
  );
  return [pullBack(p.mul(g, scale)), p.mul(g, standard), g];
};

/** All axes from `axis` on. */
function normalizedAxes(d: Differentiation, x: Value): number[] {
  const axis = intAttribute(d.node, 'axis', -1);
  return [...dimsOf(x).keys()].slice(axis < 0 ? axis + rankOf(x) : axis);
}

/** A vector of one entry a channel, shaped to multiply x [N, C, …]. */
function perChannel(p: Program, v: Value, x: Value): Value {
  return rankOf(x) === 2
    ? v
    : p.unsqueeze(
        v,
        channelAxes(x)
          .slice(1)
          .map((i) => i - 1),
      );
}

/** As layer normalization, over the positions of each channel of each sample; scale and bias per channel. */
const instanceNormalization: GradientRule = (p, d) => {
  const [x, scale, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const axes = [...dimsOf(x).keys()].slice(2);
  const { standard, pullBack } = standardize(p, x, axes, floatAttribute(d.node, 'epsilon', 1e-5));
  return [
    pullBack(p.mul(g, perChannel(p, scale, x))),
    p.reduceSum(p.mul(g, standard), channelAxes(x)),
    p.reduceSum(g, channelAxes(x)),
  ];
};

/** As layer normalization, over the channels and positions of each group of a sample; scale and bias per channel. */
const groupNormalization: GradientRule = (p, d) => {
  const [x, scale, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const grouped = (v: Value): Value => p.reshape(v, [0, intAttribute(d.node, 'num_groups', 1), -1]);
  const { standard, pullBack } = standardize(p, grouped(x), [2], floatAttribute(d.node, 'epsilon', 1e-5));
  return [
    p.reshapeLike(pullBack(grouped(p.mul(g, perChannel(p, scale, x)))), x),
    p.reduceSum(p.mul(g, p.reshapeLike(standard, x)), channelAxes(x)),
    p.reduceSum(g, channelAxes(x)),
  ];
};

/** y = x·r·scale with r = 1/√(mean x² + ε). */
const rmsNormalization: GradientRule = (p, d) => {
  const [x, scale, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const axes = normalizedAxes(d, x);
  const mean = p.reduceMean(p.square(x), axes, true);
  const r = p.reciprocal(p.sqrt(p.add(mean, floatAttribute(d.node, 'epsilon', 1e-5))));
  const standard = p.mul(x, r);
  const h = p.mul(g, scale);
  const along = p.mul(standard, p.reduceMean(p.mul(h, standard), axes, true));
  return [p.mul(r, p.sub(h, along)), p.mul(g, standard)];
};

/** y = (x − mean)·scale·r + bias with given statistics, which get gradients too: training computes them from x. */
const batchNormalization: GradientRule = (p, d) => {
  if (intAttribute(d.node, 'training_mode', 0) !== 0) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `there is no gradient rule for the training mode of ${describeNode(d.node)}`,
      'Export the model for inference.',
    );
  }
  const [x, scale, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const [mean, variance] = [input(d, 3), input(d, 4)];
  const r = p.reciprocal(p.sqrt(p.add(variance, floatAttribute(d.node, 'epsilon', 1e-5))));
  const sum = p.reduceSum(g, channelAxes(x));
  // Σ g·(x − mean) per channel
  const product = p.sub(p.reduceSum(p.mul(g, x), channelAxes(x)), p.mul(mean, sum));
  const slope = p.mul(scale, r);
  return [
    p.mul(g, perChannel(p, slope, x)),
    p.mul(product, r),
    sum,
    p.neg(p.mul(slope, sum)),
    p.mul(p.mul(product, slope), p.mul(p.square(r), -0.5)),
  ];
};

export const NORMALIZATION = {
  LayerNormalization: layerNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  RMSNormalization: rmsNormalization,
  BatchNormalization: batchNormalization,
} as const satisfies Record<string, GradientRule>;
