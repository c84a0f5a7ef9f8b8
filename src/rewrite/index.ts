/** rewrite: passes that prepare a model for quantization; each computes what its input computed. */
export { convertOpset, raiseOpset, type Converted } from './opset/convert.js';
export { type Pass, type PassResult } from './pass.js';
export { PASSES, prepare, type Prepared, type PrepareOptions } from './passes.js';
export * from './equalize/index.js';
