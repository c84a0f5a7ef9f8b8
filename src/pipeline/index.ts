/** pipeline: the three programs — calibrate, quantize, report — as plain functions. */
export {
  calibrate,
  mergeFiles,
  valuesOfAnyPlan,
  type CalibrateRequest,
  type StatisticsSource,
} from './calibrate.js';
export { loadModel, type LoadedModel } from './load-model.js';
export { fxqVersion, manifestPath, readManifest, type Manifest } from './manifest.js';
export { quantize } from './quantize.js';
export { type QuantizeRequest, type QuantizeResult } from './quantize-request.js';
export { quantizeWithin } from './quantize-within.js';
export { report, type ReportOptions } from './report.js';
export { openSearch, type OpenSearch, type StudyRequest } from './open-search.js';
export { bestWithin } from './best-within.js';
export { contestTables, contestWithin, type Contest } from './contest.js';
export { chartPath, search, type SearchRequest } from './search.js';
export { writtenLoss, type WrittenLoss } from './written-loss.js';
export { pointWriter, trialWriter, type WriteModel, type WritingRequest } from './written-points.js';
export { synthesize, type SynthesizeResult } from './synthesize.js';
export { compareSpeed, type Speed } from './speed.js';
