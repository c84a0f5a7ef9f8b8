/** report: what quantization cost and gained — evaluation, error per layer, sizes, latency, gates, and their reporters. */
export { readBaseline } from './baseline.js';
export { evaluate, type Evaluation, type LabelledBatch } from './evaluate.js';
export { checkGates, parseGate, type Gate } from './gates.js';
export { measureLatency } from './latency.js';
export { paretoHtml } from './pareto-html.js';
export { measureLayers } from './layer-errors.js';
export { METRICS, loadMetric, type Metric, type MetricBatch, type MetricState } from './metrics.js';
export { compareWithBaseline, quantities, type Measured } from './quantities.js';
export { REPORTERS, formatSection, text, type Paint, type ReporterName } from './reporters/index.js';
export * from './result.js';
export { activationSection } from './activation-section.js';
export { type Cell, type Section, type Tone } from './section.js';
export { kernelSection, planSection } from './sections.js';
export { weightSection } from './weight-section.js';
export { transformSections } from './transforms.js';
export { compareSizes } from './sizes.js';
export { observeTensors, type TensorObserver } from './tensors.js';
export { formatBytes, formatMeasure } from './units.js';
