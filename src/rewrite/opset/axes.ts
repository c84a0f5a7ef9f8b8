/** Steps of operators that move values along axes: lists that became inputs. */
import {
  intAttribute,
  intsAttribute,
  floatAttribute,
  stringAttribute,
  withAttributes,
} from '../../onnx/index.js';
import { tensor } from '../../tensor/index.js';
import { refuse } from '../rule.js';
import {
  int64s,
  intsToInput,
  typed,
  withInput,
  withoutAttributes,
  type Step,
  type StepTable,
} from './step.js';
import { scalarLike } from './scalar.js';

/** Opset 10: `starts`, `ends` and `axes` became inputs. */
const sliceInputs: Step = (node, site) => {
  let result = withoutAttributes(node, ['starts', 'ends', 'axes']);
  for (const [i, name] of ['starts', 'ends', 'axes'].entries()) {
    const values = intsAttribute(node, name);
    if (values !== undefined) result = withInput(result, i + 1, site.addConstant(name, int64s(values)));
  }
  return result;
};

/** Opset 10: `k` became an input. */
const topKInput: Step = (node, site) => {
  const k = site.addConstant('k', int64s([intAttribute(node, 'k', 0)]));
  return withInput(withoutAttributes(node, ['k']), 1, k);
};

/** Opset 11: `pads` and `value` became inputs; the value has the element type of the data. */
const padInputs: Step = (node, site) => {
  const pads = intsAttribute(node, 'pads', []);
  const value = floatAttribute(node, 'value', 0);
  const result = withInput(
    withoutAttributes(node, ['pads', 'value']),
    1,
    site.addConstant('pads', int64s(pads)),
  );
  if (value === 0 || stringAttribute(node, 'mode', 'constant') !== 'constant') return result;
  const scalar = scalarLike(node.inputs[0] ?? '', value, site);
  return scalar === undefined
    ? refuse('the element type of its input is not known')
    : withInput(result, 2, site.addConstant('pad_value', scalar));
};

/** Opset 18: the number of equal parts must be said. */
const splitParts: Step = (node) =>
  (node.inputs[1] ?? '') === '' ? withAttributes(node, { num_outputs: node.outputs.length }) : node;

/** Opset 11: renamed. */
const renameTo =
  (opType: string): Step =>
  (node) => ({ ...node, opType });

/**
 * Opset 11: a negative index counts from the end; before, it was out of range and gave a row of `off`. onnxruntime
 * counts from the end in both.
 */
const oneHotIndices: Step = (node, site) => {
  site.note(`${node.name || node.opType}: negative indices count from the end since opset 11`);
  return node;
};

/** Opset 20: `axis` became an input, and its default the last axis but one. */
const dftAxis: Step = (node, site) => {
  const axis = tensor('int64', [], [intAttribute(node, 'axis', 1)]);
  return withInput(withoutAttributes(node, ['axis']), 2, site.addConstant('axis', axis));
};

export const AXES_STEPS: StepTable = {
  DFT: { 20: dftAxis },
  OneHot: { 11: oneHotIndices },
  Pad: { 11: typed(padInputs) },
  Scatter: { 11: renameTo('ScatterElements') },
  Slice: { 10: sliceInputs },
  Split: { 13: intsToInput('split', 1), 18: splitParts },
  Squeeze: { 13: intsToInput('axes', 1) },
  TopK: { 10: topKInput },
  Unsqueeze: { 13: intsToInput('axes', 1) },
};
