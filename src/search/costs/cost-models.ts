/** Cost models: one table from the name of a cost to what a layer spends of it at given formats. */
import { FxqError } from '../../core/index.js';
import { bitsOf, weightBytes, type CostedLayer, type LayerFormats } from './layer.js';
import { sparseSupport, type Hardware } from './hardware.js';

/** What a layer spends; additive over layers. */
export type CostModel = (layer: CostedLayer, formats: LayerFormats, hardware: Hardware) => number;

/** Costs by name, each with its unit. */
export const COSTS = {
  /** Bytes of the weights as stored; sparse ones packed where the hardware takes them packed. */
  size: { unit: 'B', of: storedBytes },
  /** Bits of the codes at their own width, in bytes: what storage without padding to 2, 4 or 8 bits would take. */
  bits: { unit: 'B', of: ({ elements }, { weights }) => (elements * bitsOf(weights)) / 8 },
  /** Bit operations: Σ MACs · b_w · b_a. */
  bops: {
    unit: '',
    of: (layer, formats, hardware) =>
      effectiveMacs(layer, formats, hardware) * bitsOf(formats.weights) * bitsOf(formats.activations),
  },
  /** Multiplications that the hardware makes. */
  macs: { unit: '', of: effectiveMacs },
  /** Microseconds by the hardware's table. */
  latency: {
    unit: 'µs',
    of: (layer, formats, { name, latency }) =>
      lookUp(latency?.microseconds, latencyKey(layer, formats), name, 'latency'),
  },
  /** Picojoules: multiplications by width, and every stored byte read once. */
  energy: {
    unit: 'pJ',
    of: (layer, formats, hardware) => {
      const { energy, name } = hardware;
      const key = `${bitsOf(formats.weights)}x${bitsOf(formats.activations)}`;
      const mac = lookUp(energy?.mac, key, name, 'energy');
      const bytes = storedBytes(layer, formats, hardware);
      return effectiveMacs(layer, formats, hardware) * mac + bytes * (energy?.byte ?? 0);
    },
  },
} as const satisfies Record<string, { readonly unit: string; readonly of: CostModel }>;

export type CostName = keyof typeof COSTS;

/** Amounts of the costs asked for. @throws FxqError E_CONFIG where the hardware declares no such cost */
export function costsOf(
  names: readonly CostName[],
  layer: CostedLayer,
  formats: LayerFormats,
  hardware: Hardware,
): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, COSTS[name].of(layer, formats, hardware)]));
}

/** Multiplications by width, `8x8` as weights × activations: a breakdown for reports. */
export function macsByWidth(
  layers: readonly CostedLayer[],
  formats: readonly LayerFormats[],
  hardware: Hardware,
): Record<string, number> {
  const sums = new Map<string, number>();
  layers.forEach((layer, i) => {
    const own = formats[i];
    if (own === undefined) return;
    const key = `${bitsOf(own.weights)}x${bitsOf(own.activations)}`;
    sums.set(key, (sums.get(key) ?? 0) + effectiveMacs(layer, own, hardware));
  });
  return Object.fromEntries([...sums].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Key of an operation in a latency table: operator, size of the problem, formats. */
export function latencyKey({ opType, macs, elements, depth }: CostedLayer, formats: LayerFormats): string {
  const { weights, activations, sparsity = 'dense' } = formats;
  return `${opType} macs=${macs} weights=${elements} depth=${depth} ${weights}/${activations} ${sparsity}`;
}

function storedBytes(layer: CostedLayer, formats: LayerFormats, hardware: Hardware): number {
  const support = sparseSupport(hardware, formats.sparsity, bitsOf(formats.weights));
  return weightBytes(layer, formats, support !== undefined);
}

function effectiveMacs(layer: CostedLayer, { weights, sparsity }: LayerFormats, hardware: Hardware): number {
  return layer.macs * (sparseSupport(hardware, sparsity, bitsOf(weights))?.work ?? 1);
}

function lookUp(
  table: Readonly<Record<string, number>> | undefined,
  key: string,
  name: string,
  cost: string,
): number {
  const value = table?.[key];
  if (value !== undefined) return value;
  throw new FxqError('E_CONFIG', `the hardware '${name}' declares no ${cost} of ${key}`, [
    table === undefined
      ? `Add a table of ${cost} to its profile, or measure one.`
      : `Add that entry to its ${cost} table.`,
  ]);
}
