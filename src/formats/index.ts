/** formats: number formats as values — what the codes stand for, how they are scaled, stored and written in ONNX. */
export { affineInteger } from './affine.js';
export { type FormatFamily, type NumberFormat, type OnnxForm, type ScaleRule } from './format.js';
export { FAMILIES, formatNames, parseFormat } from './parse.js';
