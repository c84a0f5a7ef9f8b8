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
export { quantize, type QuantizeRequest, type QuantizeResult } from './quantize.js';
export { report, type ReportOptions } from './report.js';
export { search, type SearchRequest } from './search.js';
export { compareSpeed, type Speed } from './speed.js';
