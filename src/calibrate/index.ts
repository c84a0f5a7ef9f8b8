/** calibrate: what values a model takes on data — sketches from one pass — and the ranges that follow from them. */
export { type Shard } from './blocks.js';
export { collect, type CollectOptions } from './collect.js';
export { extremeSupport, outOfRange, type OutOfRange } from './diagnostics.js';
export { mergeStatistics } from './merge.js';
export { hashModel } from './model-hash.js';
export { assignRanges, sketchOf } from './ranges/assign-ranges.js';
export { asSample, distributionOf, type Distribution } from './ranges/distribution.js';
export { rangesByLayerError } from './ranges/layer-error.js';
export {
  RANGE_METHODS,
  chooseRange,
  type RangeChoice,
  type Range,
  type RangeMethod,
  type RangeSettings,
  type RangeTarget,
} from './ranges/range.js';
export {
  BINS_BY_VALUE,
  SKETCH_BINS,
  addElements,
  addExtremes,
  binBounds,
  binOf,
  emptySketch,
  mergeSketches,
  type SketchBuilder,
} from './sketch.js';
export { decodeStatistics, encodeStatistics, readStatistics, writeStatistics } from './statistics-file.js';
export * from './statistics.js';
