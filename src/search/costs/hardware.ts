/** What targets save and spend, declared as data: which sparse patterns pay, energy and time of operations. */
import { FxqError, didYouMean, readInput } from '../../core/index.js';

/** A pattern the hardware computes, for weights of these widths. */
export interface SparseSupport {
  readonly pattern: string;
  readonly bits: readonly number[];
  /** Share of the dense multiplications that remain. */
  readonly work: number;
}

/** Picojoules of a multiply-accumulate by widths `8x8` (weights × activations), and of a byte read from memory. */
export interface EnergyTable {
  readonly mac: Readonly<Record<string, number>>;
  readonly byte: number;
}

export interface Hardware {
  readonly name: string;
  readonly sparse: readonly SparseSupport[];
  readonly energy?: EnergyTable;
  /** Microseconds by operation, from a measurement or a data sheet. */
  readonly latency?: LatencyTable;
}

/** Times of single operations by key (see `latencyKey`), with where they come from. */
export interface LatencyTable {
  readonly source: string;
  readonly microseconds: Readonly<Record<string, number>>;
}

/** Profiles by name. A target without a profile gains nothing from sparsity. */
export const HARDWARE = {
  /** Dense kernels only: zeros are multiplied like any other code. */
  'onnxruntime-cpu': { name: 'onnxruntime-cpu', sparse: [] },
  generic: { name: 'generic', sparse: [] },
  /** NVIDIA sparse tensor cores: 2:4 in 8 bits and wider, pairs of 4:8 in 4 bits, twice the dense rate. */
  'sparse-tensor-cores': {
    name: 'sparse-tensor-cores',
    sparse: [
      { pattern: '2:4', bits: [8, 16], work: 0.5 },
      { pattern: '4:8/2', bits: [4], work: 0.5 },
    ],
  },
} as const satisfies Record<string, Hardware>;

/** A profile by name, or from a JSON file of the same form (`./board.json`). @throws FxqError E_USAGE, E_CONFIG */
export function findHardware(name: string): Hardware {
  if (Object.hasOwn(HARDWARE, name)) return HARDWARE[name as keyof typeof HARDWARE];
  if (name.endsWith('.json')) return readHardware(name);
  throw new FxqError('E_USAGE', `unknown hardware '${name}'`, [
    ...[didYouMean(name, Object.keys(HARDWARE))].filter((s) => s !== ''),
    `Use ${Object.keys(HARDWARE).join(', ')}, or a JSON file.`,
  ]);
}

function readHardware(path: string): Hardware {
  const fail = (what: string): never => {
    throw new FxqError('E_CONFIG', `${path}: ${what}`, 'See docs/search.md for the form of the file.');
  };
  let value: Partial<Hardware>;
  try {
    value = JSON.parse(readInput(path, 'the hardware profile').toString('utf8')) as Partial<Hardware>;
  } catch (error) {
    if (error instanceof FxqError) throw error;
    return fail(`not JSON (${(error as Error).message})`);
  }
  const { name, sparse = [], energy, latency } = value;
  const isNumber = (x: unknown): x is number => typeof x === 'number' && Number.isFinite(x) && x >= 0;
  if (typeof name !== 'string') return fail('name must be text');
  if (!sparse.every((s) => typeof s.pattern === 'string' && Array.isArray(s.bits) && isNumber(s.work)))
    return fail('sparse must be a list of {pattern, bits, work}');
  if (energy !== undefined && !(isNumber(energy.byte) && Object.values(energy.mac).every(isNumber)))
    return fail('energy must be {mac: {"8x8": pJ, …}, byte: pJ}');
  if (
    latency !== undefined &&
    !(typeof latency.source === 'string' && Object.values(latency.microseconds).every(isNumber))
  )
    return fail('latency must be {source, microseconds: {…}}');
  return {
    name,
    sparse,
    ...(energy === undefined ? {} : { energy }),
    ...(latency === undefined ? {} : { latency }),
  };
}

/** What the hardware makes of a pattern at a weight width; undefined when it computes as if the weight were dense. */
export function sparseSupport(
  { sparse }: Hardware,
  pattern: string | undefined,
  bits: number,
): SparseSupport | undefined {
  return sparse.find((s) => s.pattern === pattern && s.bits.includes(bits));
}
