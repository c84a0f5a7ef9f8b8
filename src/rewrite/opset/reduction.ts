/** Steps of reductions and poolings. */
import { intAttribute, intsAttribute, stringAttribute, withAttributes, type Node } from '../../onnx/index.js';
import { refuse } from '../rule.js';
import { intsToInput, type Site, type Step, type StepTable } from './step.js';

const axesToInput = intsToInput('axes', 1);

/**
 * Opset 19, average pooling over padding with `ceil_mode`: the last window may reach past the padding. Such positions
 * used to count as zeros (onnxruntime divides by the whole kernel) and no longer do. Written as padding, they still do.
 */
const windowsPastPadding: Step = (node, site) => {
  const countsPadding = intAttribute(node, 'count_include_pad', 0) === 1;
  if (!countsPadding || intAttribute(node, 'ceil_mode', 0) === 0) return node;
  const excess = excessOfWindows(node, site);
  if (excess === undefined)
    return refuse('it averages over padding with ceil_mode, and the size of its input is not known');
  if (excess.every((e) => e === 0)) return node;
  const { length } = excess;
  const pads = intsAttribute(node, 'pads', new Array<number>(2 * length).fill(0));
  const enlarged = pads.map((pad, i) => (i < length ? pad : pad + (excess[i - length] ?? 0)));
  return withAttributes(node, { pads: enlarged, ceil_mode: 0 });
};

/** How far the last window of each spatial axis reaches past the padded input. */
function excessOfWindows(node: Node, site: Site): number[] | undefined {
  const size = site.type(node.inputs[0] ?? '')?.dims?.slice(2);
  const kernel = intsAttribute(node, 'kernel_shape', []);
  if (size?.length !== kernel.length || stringAttribute(node, 'auto_pad', 'NOTSET') !== 'NOTSET')
    return undefined;
  const strides = intsAttribute(
    node,
    'strides',
    kernel.map(() => 1),
  );
  const pads = intsAttribute(
    node,
    'pads',
    [...kernel, ...kernel].map(() => 0),
  );
  const excess = size.map((dim, i) => {
    const [k = 1, s = 1, p = 0, q = 0] = [kernel[i], strides[i], pads[i], pads[i + kernel.length]];
    if (typeof dim !== 'number') return undefined;
    const steps = Math.ceil((dim + p + q - k) / s);
    // A window that would start in the padding behind the input does not exist.
    const last = steps * s >= dim + p ? steps - 1 : steps;
    return Math.max(0, last * s + k - (dim + p + q));
  });
  return excess.every((e) => e !== undefined) ? excess : undefined;
}

export const REDUCTION_STEPS: StepTable = {
  AveragePool: { 19: windowsPastPadding },
  ReduceL1: { 18: axesToInput },
  ReduceL2: { 18: axesToInput },
  ReduceLogSum: { 18: axesToInput },
  ReduceLogSumExp: { 18: axesToInput },
  ReduceMax: { 18: axesToInput },
  ReduceMean: { 18: axesToInput },
  ReduceMin: { 18: axesToInput },
  ReduceProd: { 18: axesToInput },
  ReduceSum: { 13: axesToInput },
  ReduceSumSquare: { 18: axesToInput },
};
