/** config: what the user asks for — file, environment and flags merged, checked, and handed to each program. */
export { parseInput } from './data.js';
export { CONFIG_FILES } from './file.js';
export { loadConfig, requireSetting, type ConfigRequest, type FlagValue, type LoadedConfig } from './load.js';
export { printConfig } from './print.js';
export { type Config } from './schema.js';
export { parseSelector } from './selector.js';
export {
  calibrateSettings,
  quantizeSettings,
  type CalibrateSettings,
  type QuantizeSettings,
} from './settings.js';
export { reportOutput, reportSettings, type ReportOutput, type ReportSettings } from './report-settings.js';
export { synthesizeSettings, type SynthesizeSettings } from './synthesize-settings.js';
export { budgetSettings, searchSettings, type SearchSettings } from './search-settings.js';
