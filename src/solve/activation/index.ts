/** activation: sparsity of what layers read, by thresholds on contributions (Sparsing Law, arXiv 2411.02335). */
export { findActivationSites, type ActivationSite } from './sites.js';
export { withThresholds } from './shrink.js';
export { openMeter, thresholdSearch, type Meter, type SiteMeasure } from './thresholds.js';
export {
  parseSparsityTarget,
  sparsifyActivations,
  type NetworkSparsity,
  type SiteSparsity,
  type SparsifyData,
  type SparsityTarget,
} from './sparsify.js';
