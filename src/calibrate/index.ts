/** calibrate: what values a model takes on data — sketches from one pass — and the ranges that follow from them. */
export { collect, type CollectOptions } from './collect.js';
export { type Shard } from './blocks.js';
export { hashModel } from './model-hash.js';
export {
  SKETCH_BINS,
  addElements,
  binBounds,
  emptySketch,
  mergeSketches,
  type SketchBuilder,
} from './sketch.js';
export * from './statistics.js';
