/** costs: what a layer spends at given formats — bytes, bit operations, time, energy — and budgets on their totals. */
export { limitOf, parseBudget, type Budget } from './budgets.js';
export { COSTS, costsOf, latencyKey, macsByWidth, type CostModel, type CostName } from './cost-models.js';
export {
  HARDWARE,
  findHardware,
  sparseSupport,
  type EnergyTable,
  type Hardware,
  type LatencyTable,
  type SparseSupport,
} from './hardware.js';
export { accumulatorBits, bitsOf, weightBytes, type CostedLayer, type LayerFormats } from './layer.js';
export { countMacs, type Shapes } from './macs.js';
