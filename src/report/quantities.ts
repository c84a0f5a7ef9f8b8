/** Every number of a result by a dotted name: what gates, baselines and deltas speak about. */
import { sumsProducts } from '../emit/index.js';
import { type BaselineDelta, type ReportResult } from './result.js';
import { unitOfDifferences } from './units.js';

export interface Quantity {
  readonly value: number;
  /** Unit of the value: '%', 'B', 'ms', 'dB', or ''. */
  readonly unit: string;
}

/** What quantities are made of; gates and deltas come later. */
export type Measured = Pick<
  ReportResult,
  | 'metrics'
  | 'outputs'
  | 'layers'
  | 'size'
  | 'latency'
  | 'kernels'
  | 'accumulators'
  | 'activations'
  | 'sparsity'
>;

/**
 * Names and values of everything that was measured: `top1.drop`, `sqnr`, `size.ratio`, `latency.speedup`,
 * `output.logits.kl`, `layer.conv1.own`, `kernels.float` … A metric's or section's bare name is the quantized value.
 */
export function quantities(result: Measured): Map<string, Quantity> {
  const all = new Map<string, Quantity>();
  const set = (name: string, value: number, unit: string): void => void all.set(name, { value, unit });
  for (const m of result.metrics) {
    set(m.name, m.quantized, m.unit);
    set(`${m.name}.float`, m.float, m.unit);
    set(`${m.name}.quantized`, m.quantized, m.unit);
    set(`${m.name}.drop`, m.drop, unitOfDifferences(m.unit));
    set(`${m.name}.relative`, m.relative, '%');
  }
  addOutputs(result, set);
  addPair('size', result.size.float, result.size.quantized, 'B', set);
  if (result.latency !== undefined) {
    const { float, quantized } = result.latency;
    addPair('latency', float.median, quantized.median, 'ms', set);
    set('latency.speedup', float.median / quantized.median, '');
  }
  addLayers(result, set);
  if (result.kernels !== undefined) {
    const { integer, packed, float, conversions, nodes } = result.kernels;
    set('kernels.integer', integer, '');
    set('kernels.packed', packed, '');
    set('kernels.float', float, '');
    set('kernels.conversions', conversions, '');
    set('kernels.share', nodes.length === 0 ? 100 : (100 * integer) / nodes.length, '%');
  }
  addAccumulators(result, set);
  if (result.activations !== undefined) {
    const { zeros, sparse, quantized } = result.activations.predictedSavedMacs;
    set('activations.zeros.float', 100 * zeros, '%');
    set('activations.sparse', 100 * sparse, '%');
    if (quantized !== undefined) set('activations.zeros', 100 * quantized, '%');
  }
  addSparsity(result, set);
  return all;
}

type Setter = (name: string, value: number, unit: string) => void;

function addPair(name: string, float: number, quantized: number, unit: string, set: Setter): void {
  set(name, quantized, unit);
  set(`${name}.float`, float, unit);
  set(`${name}.quantized`, quantized, unit);
  set(`${name}.ratio`, (100 * quantized) / float, '%');
}

/** The bare names are those of the worst output. */
function addOutputs({ outputs }: Measured, set: Setter): void {
  for (const o of outputs) {
    set(`output.${o.name}.sqnr`, o.sqnr, 'dB');
    set(`output.${o.name}.cosine`, o.cosine, '');
    if (o.kl !== undefined) set(`output.${o.name}.kl`, o.kl, '');
    if (o.agreement !== undefined) set(`output.${o.name}.agreement`, o.agreement, '%');
  }
  if (outputs.length === 0) return;
  set('sqnr', Math.min(...outputs.map((o) => o.sqnr)), 'dB');
  set('cosine', Math.min(...outputs.map((o) => o.cosine)), '');
  const kl = outputs.flatMap((o) => o.kl ?? []);
  const agreement = outputs.flatMap((o) => o.agreement ?? []);
  if (kl.length > 0) set('kl', Math.max(...kl), '');
  if (agreement.length > 0) set('agreement', Math.min(...agreement), '%');
}

function addLayers({ layers }: Measured, set: Setter): void {
  for (const l of layers) {
    set(`layer.${l.value}.own`, l.own, 'dB');
    set(`layer.${l.value}.accumulated`, l.accumulated, 'dB');
    if (l.activation !== undefined) set(`layer.${l.value}.activation`, l.activation, 'dB');
  }
  if (layers.length > 0) set('layers.worst', Math.min(...layers.map((l) => l.own)), 'dB');
}

/** Bits of the widest sum of products: for any input, for calibrated ranges, and of the widest bias. */
function addAccumulators({ accumulators: all = [] }: Measured, set: Setter): void {
  const accumulators = all.filter(sumsProducts);
  if (accumulators.length === 0) return;
  const most = (bits: (a: (typeof accumulators)[number]) => number): number =>
    Math.max(...accumulators.map(bits));
  set(
    'accumulator',
    most((a) => a.bits),
    '',
  );
  set(
    'accumulator.calibrated',
    most((a) => a.calibratedBits ?? a.bits),
    '',
  );
  set(
    'accumulator.bias',
    most((a) => a.biasBits ?? 1),
    '',
  );
}

/** Zeros of all layers, and by pattern: share and number of eligible layers that keep it, groups that break it. */
function addSparsity({ sparsity = [] }: Measured, set: Setter): void {
  for (const { pattern, zeros, layers } of sparsity) {
    const eligible = layers.filter((layer) => layer.why === undefined);
    const keep = eligible.filter((layer) => layer.keeps);
    set('sparsity', zeros, '%');
    set(pattern, eligible.length === 0 ? 0 : (100 * keep.length) / eligible.length, '%');
    set(`${pattern}.layers`, keep.length, '');
    set(
      `${pattern}.violations`,
      eligible.reduce((sum, layer) => sum + (layer.violations ?? 0), 0),
      '',
    );
  }
}

/** Changes against an earlier result, for every quantity both have but those of single layers. */
export function compareWithBaseline(result: Measured, baseline: Measured): BaselineDelta[] {
  const before = quantities(baseline);
  return [...quantities(result)].flatMap(([quantity, { value, unit }]) => {
    const old = before.get(quantity);
    if (old === undefined || quantity.startsWith('layer.')) return [];
    return [{ quantity, before: old.value, after: value, unit }];
  });
}
