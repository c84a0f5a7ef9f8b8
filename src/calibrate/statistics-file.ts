/** Statistics as a file in safetensors layout. The arrays are described in docs/calibration.md; sketches are sparse. */
import { FxqError, canonicalJson, readInput, writeOutput } from '../core/index.js';
import { type Tensor, type TypedArray } from '../tensor/index.js';
import { decodeSafetensors, encodeSafetensors, type StoredType } from './safetensors.js';
import { SKETCH_BINS } from './sketch.js';
import { type Statistics, type TensorStatistics } from './statistics.js';

/** Changes when a reader of the old layout would misread the new one. */
const FORMAT = 'fxq-statistics';
const VERSION = 1;

const SKETCHES = ['histogram', 'sampleMin', 'sampleMax'] as const;

/** Writes statistics; the same statistics give the same bytes. */
export function writeStatistics(statistics: Statistics, path: string): void {
  writeOutput(path, [encodeStatistics(statistics)]);
}

/**
 * Reads statistics.
 *
 * @throws FxqError E_STATISTICS for a file that is none, or of another version
 */
export function readStatistics(path: string): Statistics {
  return decodeStatistics(readInput(path, 'statistics'), path);
}

export function encodeStatistics(statistics: Statistics): Uint8Array {
  const { tensors, ...about } = statistics;
  const list = [...tensors.values()];
  const arrays = new Map<string, Tensor>([
    [
      'extremes',
      array(
        'float32',
        [list.length, 2],
        list.flatMap((t) => [t.min, t.max]),
      ),
    ],
    [
      'counts',
      array(
        'float64',
        [list.length, 3],
        list.flatMap((t) => [t.count, t.nan, t.infinite]),
      ),
    ],
    ...SKETCHES.flatMap((sketch) =>
      sparse(
        sketch,
        list.map((t) => t[sketch]),
      ),
    ),
    [
      'channels.axis',
      array(
        'int32',
        [list.length],
        list.map((t) => t.channels?.axis ?? -1),
      ),
    ],
    [
      'channels.size',
      array(
        'int32',
        [list.length],
        list.map((t) => t.channels?.min.length ?? 0),
      ),
    ],
    ['channels.min', joined(list.map((t) => t.channels?.min))],
    ['channels.max', joined(list.map((t) => t.channels?.max))],
  ]);
  const { elementsPerSample } = about;
  const metadata = {
    format: FORMAT,
    version: String(VERSION),
    // JSON has no infinity.
    statistics: canonicalJson({
      ...about,
      elementsPerSample: Number.isFinite(elementsPerSample) ? elementsPerSample : 'all',
      tensors: [...tensors.keys()],
    }),
  };
  return encodeSafetensors({ arrays, metadata });
}

function array(dtype: StoredType, dims: readonly number[], values: readonly number[]): Tensor {
  const types = { float32: Float32Array, float64: Float64Array, uint16: Uint16Array, int32: Int32Array };
  return { dtype, dims, data: types[dtype].from(values) };
}

/** Sketches one after the other, the non-empty bins of each: `<name>.size`, `<name>.bins`, `<name>.counts`. */
function sparse(name: string, sketches: readonly Float64Array[]): [string, Tensor][] {
  const filled = sketches.map((sketch) => [...sketch.keys()].filter((bin) => sketch[bin] !== 0));
  const bins = filled.flat();
  const counts = filled.flatMap((list, i) => list.map((bin) => sketches[i]?.[bin] ?? 0));
  return [
    [
      `${name}.size`,
      array(
        'int32',
        [sketches.length],
        filled.map((list) => list.length),
      ),
    ],
    [`${name}.bins`, array('uint16', [bins.length], bins)],
    [`${name}.counts`, array('float64', [counts.length], counts)],
  ];
}

function joined(parts: readonly (Float32Array | undefined)[]): Tensor {
  const values = parts.flatMap((part) => Array.from(part ?? []));
  return array('float32', [values.length], values);
}

export function decodeStatistics(bytes: Uint8Array, path: string): Statistics {
  const bad = (why: string): FxqError =>
    new FxqError('E_STATISTICS', `${path} does not hold statistics: ${why}`, 'Write it with fxq calibrate.');
  const { metadata, arrays } = decodeSafetensors(bytes, bad);
  if (metadata.format !== FORMAT) throw bad('it is another kind of file');
  if (metadata.version !== String(VERSION))
    throw bad(`its version is ${metadata.version}, this fxq reads ${VERSION}`);
  const about = JSON.parse(metadata.statistics ?? '{}') as Omit<
    Statistics,
    'tensors' | 'elementsPerSample'
  > & {
    readonly tensors: readonly string[];
    readonly elementsPerSample: number | 'all';
  };
  const read = <T extends TypedArray>(name: string): T => {
    const found = arrays.get(name);
    if (found === undefined) throw bad(`array ${name} is missing`);
    return found.data as T;
  };
  const sketches = Object.fromEntries(
    SKETCHES.map((name) => [name, dense(read(`${name}.size`), read(`${name}.bins`), read(`${name}.counts`))]),
  ) as Record<(typeof SKETCHES)[number], Float64Array[]>;
  const extremes = read<Float32Array>('extremes');
  const counts = read<Float64Array>('counts');
  const channels = readChannels(
    read('channels.axis'),
    read('channels.size'),
    read('channels.min'),
    read('channels.max'),
  );
  const { tensors: names, elementsPerSample, ...rest } = about;
  return {
    ...rest,
    elementsPerSample: elementsPerSample === 'all' ? Infinity : elementsPerSample,
    tensors: new Map(
      names.map((name, i): [string, TensorStatistics] => [
        name,
        {
          name,
          count: counts[3 * i] ?? 0,
          nan: counts[3 * i + 1] ?? 0,
          infinite: counts[3 * i + 2] ?? 0,
          histogram: sketches.histogram[i] ?? new Float64Array(SKETCH_BINS),
          min: extremes[2 * i] ?? Infinity,
          max: extremes[2 * i + 1] ?? -Infinity,
          ...channels[i],
          sampleMin: sketches.sampleMin[i] ?? new Float64Array(SKETCH_BINS),
          sampleMax: sketches.sampleMax[i] ?? new Float64Array(SKETCH_BINS),
        },
      ]),
    ),
  };
}

function dense(size: Int32Array, bins: Uint16Array, counts: Float64Array): Float64Array[] {
  let at = 0;
  return Array.from(size, (n) => {
    const sketch = new Float64Array(SKETCH_BINS);
    for (const end = at + n; at < end; at++) sketch[bins[at] ?? 0] = counts[at] ?? 0;
    return sketch;
  });
}

function readChannels(
  axis: Int32Array,
  size: Int32Array,
  min: Float32Array,
  max: Float32Array,
): Pick<TensorStatistics, 'channels'>[] {
  let at = 0;
  return Array.from(axis, (a, i) => {
    const end = at + (size[i] ?? 0);
    const range = { min: min.slice(at, end), max: max.slice(at, end) };
    at = end;
    return a < 0 ? {} : { channels: { axis: a, ...range } };
  });
}
