/** Steps of operators that read an image between its pixels: Upsample, Resize, RoiAlign, GridSample. */
import { stringAttribute, withAttributes, type Node } from '../../onnx/index.js';
import { tensor, toNumbers } from '../../tensor/index.js';
import { refuse } from '../rule.js';
import { withInput, withoutAttributes, writeOut, type Step, type StepTable } from './step.js';

/** Opset 9: `scales` became an input. */
const upsampleScales: Step = (node, site) => {
  const attribute = node.attributes.get('scales');
  const scales = attribute?.kind === 'floats' ? attribute.value : [];
  const constant = site.addConstant('scales', tensor('float32', [scales.length], [...scales]));
  return withInput(withoutAttributes(node, ['scales']), 1, constant);
};

/** Opset 10: renamed. */
const upsampleToResize: Step = (node) => ({ ...node, opType: 'Resize' });

/**
 * Opset 11: coordinates are computed as said; before, x_original = x_resized / scale. What the nearest pixel is was
 * left open: onnxruntime rounds down when it enlarges and up when it shrinks.
 */
const resizeCoordinates: Step = (node, site) => {
  const [input = '', scales = ''] = node.inputs;
  const roi = site.addConstant('roi', tensor('float32', [0]));
  const result: Node = {
    ...withAttributes(node, { coordinate_transformation_mode: 'asymmetric' }),
    inputs: [input, roi, scales],
  };
  if (stringAttribute(node, 'mode', 'nearest') !== 'nearest') return result;
  const constant = site.constantTensor(scales);
  if (constant === undefined)
    return refuse('its scales are computed, so the rounding of pixels is not known');
  const values = toNumbers(constant);
  if (values.every((s) => s >= 1)) return withAttributes(result, { nearest_mode: 'floor' });
  if (values.every((s) => s <= 1)) return withAttributes(result, { nearest_mode: 'ceil' });
  return refuse('it enlarges one axis and shrinks another, which round pixels differently');
};

/**
 * Opset 13: `tf_half_pixel_for_nn` went. Its coordinate (x + 0.5) / s lies half a pixel above that of `half_pixel`,
 * so rounding it down is rounding the other to the nearest, halves up.
 */
const resizeHalfPixel: Step = (node) => {
  if (stringAttribute(node, 'coordinate_transformation_mode', 'half_pixel') !== 'tf_half_pixel_for_nn')
    return node;
  return stringAttribute(node, 'nearest_mode', 'round_prefer_floor') === 'floor'
    ? withAttributes(node, {
        coordinate_transformation_mode: 'half_pixel',
        nearest_mode: 'round_prefer_ceil',
      })
    : refuse('its coordinates (tf_half_pixel_for_nn) went at opset 13');
};

/** Opset 20: interpolations are named by degree, for any number of dimensions. */
const gridSampleMode: Step = (node) => {
  const renamed: Record<string, string> = { bilinear: 'linear', bicubic: 'cubic' };
  const mode = stringAttribute(node, 'mode', 'bilinear');
  return withAttributes(node, { mode: renamed[mode] ?? mode });
};

export const SAMPLING_STEPS: StepTable = {
  GridSample: { 20: gridSampleMode },
  Resize: { 11: resizeCoordinates, 13: resizeHalfPixel },
  RoiAlign: { 16: writeOut('coordinate_transformation_mode', 'output_half_pixel') },
  Upsample: { 9: upsampleScales, 10: upsampleToResize },
};
