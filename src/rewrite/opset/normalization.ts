/** Steps of normalizations, of activations with limits, and of Dropout. */
import { floatAttribute, intAttribute, withAttributes, type Node } from '../../onnx/index.js';
import { tensor } from '../../tensor/index.js';
import { refuse } from '../rule.js';
import { scalarLike } from './scalar.js';
import { int64s, withInput, typed, withoutAttributes, type Site, type Step, type StepTable } from './step.js';

/** Opset 9: statistics are always one number a channel. */
const batchNormChannels: Step = (node) =>
  intAttribute(node, 'spatial', 1) === 1
    ? withoutAttributes(node, ['spatial'])
    : refuse('it normalizes every position on its own (spatial=0), which opset 9 removed');

/** Opset 14: the outputs of training changed. */
const batchNormOutputs: Step = (node) =>
  node.outputs.slice(1).some((output) => output !== '')
    ? refuse('it gives out statistics of training, which changed at opset 14')
    : node;

/** Opset 10: the mask became boolean. */
const dropoutMask: Step = (node, site) => {
  const [output = '', mask = ''] = node.outputs;
  return mask !== '' && site.isRead(mask)
    ? refuse(`its mask '${mask}' is read, which became boolean at opset 10`)
    : { ...node, outputs: [output] };
};

/** Opset 12: `ratio` became an input. */
const dropoutRatio: Step = (node, site) => {
  const plain = withoutAttributes(node, ['ratio']);
  if (!node.attributes.has('ratio')) return plain;
  const ratio = tensor('float32', [], [floatAttribute(node, 'ratio', 0.5)]);
  return withInput(plain, 1, site.addConstant('ratio', ratio));
};

/** Opset 11: the limits became inputs, of the element type of the data. */
const clipLimits: Step = (node, site) => {
  let result = withoutAttributes(node, ['min', 'max']);
  for (const [i, name] of ['min', 'max'].entries()) {
    if (!node.attributes.has(name)) continue;
    const limit = scalarLike(node.inputs[0] ?? '', floatAttribute(node, name, 0), site);
    if (limit === undefined) return refuse('the element type of its input is not known');
    result = withInput(result, i + 1, site.addConstant(name, limit));
  }
  return result;
};

/**
 * Opset 13, of Softmax and its relatives: they used to work on a matrix, with the axes from `axis` on (1 by default) as
 * its columns; now on one axis. That is the same where only one of those axes is longer than 1.
 */
const oneAxis: Step = (node, site) => {
  const axis = intAttribute(node, 'axis', 1);
  const dims = site.type(node.inputs[0] ?? '')?.dims;
  if (dims !== undefined) {
    const first = axis < 0 ? axis + dims.length : axis;
    const long = dims.flatMap((dim, i) => (i >= first && dim !== 1 ? [i] : []));
    const [only = first] = long;
    if (long.length <= 1) return withAttributes(node, { axis: only === dims.length - 1 ? -1 : only });
  }
  return asMatrix(node, axis, site);
};

/** Flattens, computes along the last axis and restores the shape. */
function asMatrix(node: Node, axis: number, site: Site): Node {
  const [input = ''] = node.inputs;
  const flat = site.emit('Flatten', [input], { axis });
  const result = site.emit(node.opType, [flat], { axis: -1 });
  const shape = site.emit('Shape', [input]);
  return { ...node, opType: 'Reshape', inputs: [result, shape], attributes: new Map() };
}

/** Opset 21: scale and bias have one number a channel, not one a group. */
const groupNormChannels: Step = (node, site) => {
  const [input = '', scale = '', bias = ''] = node.inputs;
  const groups = intAttribute(node, 'num_groups', 1);
  const channels = site.type(input)?.dims?.[1];
  if (typeof channels !== 'number') return refuse('the number of its channels is not known');
  const repeat = (perGroup: string): string => {
    const column = site.emit('Reshape', [perGroup, site.addConstant('shape', int64s([groups, 1]))]);
    const rows = site.emit('Expand', [
      column,
      site.addConstant('shape', int64s([groups, channels / groups])),
    ]);
    return site.emit('Reshape', [rows, site.addConstant('shape', int64s([-1]))]);
  };
  return { ...node, inputs: [input, repeat(scale), repeat(bias)] };
};

export const NORMALIZATION_STEPS: StepTable = {
  BatchNormalization: { 9: batchNormChannels, 14: batchNormOutputs },
  Clip: { 11: typed(clipLimits) },
  Dropout: { 10: dropoutMask, 12: dropoutRatio },
  GroupNormalization: { 21: typed(groupNormChannels) },
  Hardmax: { 13: typed(oneAxis) },
  LogSoftmax: { 13: typed(oneAxis) },
  Softmax: { 13: typed(oneAxis) },
};
