/** fxq as a library: the three programs and the values they exchange. */
export { createContext, FxqError, type Context, type Note } from './core/index.js';
export { type DataSpec, type PreprocessSpec } from './data/index.js';
export { DEFAULT_SETTINGS, PRESETS, type Plan, type PlanSettings } from './plan/index.js';
export {
  calibrate,
  mergeFiles,
  quantize,
  report,
  type CalibrateRequest,
  type QuantizeRequest,
  type QuantizeResult,
} from './pipeline/index.js';
