/** Statistics as a value: the file, merging shards, filling a plan, diagnostics. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import {
  addElements,
  assignRanges,
  emptySketch,
  encodeStatistics,
  extremeSupport,
  mergeStatistics,
  outOfRange,
  readStatistics,
  writeStatistics,
  type Statistics,
  type TensorStatistics,
} from '../../src/calibrate/index.js';
import { type ActivationQuantization, type Plan } from '../../src/plan/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { draw, gaussian, sketchOf } from './sketches.js';

const folder = temporaryFolder();

function statistics(sketches: readonly TensorStatistics[], more: Partial<Statistics> = {}): Statistics {
  return {
    modelHash: 'm',
    dataHash: 'd',
    synthetic: false,
    samples: 3,
    elementsPerSample: 100,
    tensors: new Map(sketches.map((s) => [s.name, s])),
    ...more,
  };
}

const plain = sketchOf(
  [
    [1, -2, 3],
    [0, NaN, Infinity],
  ],
  'plain',
);
const channelled = emptySketch('héllo/"x"', { axis: 1, size: 2 });
channelled.channels?.min.set([-1, -2]);
channelled.channels?.max.set([5, 6]);
addElements(channelled, Float32Array.of(5, 6, -1, -2));
const never = emptySketch('never');

describe('the file', () => {
  const all = statistics([channelled, never, plain], { shards: { count: 4, indices: [1, 2] } });

  it('gives back what was written', () => {
    const path = join(folder, 'a.fxqstats');
    writeStatistics(all, path);
    expect(readStatistics(path)).toEqual(all);
    const whole = statistics([plain], { elementsPerSample: Infinity, synthetic: true });
    writeStatistics(whole, path);
    expect(readStatistics(path)).toEqual(whole);
  });

  it('is safetensors: header length, JSON, arrays without gaps', () => {
    const bytes = encodeStatistics(all);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const length = Number(view.getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    const { __metadata__, ...arrays } = header;
    expect(__metadata__).toMatchObject({ format: 'fxq-statistics', version: '1' });
    const ranges = Object.values(arrays).map((a) => a.data_offsets);
    ranges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    ranges.forEach(([from], i) => expect(from).toBe(ranges[i - 1]?.[1] ?? 0));
    expect(ranges[ranges.length - 1]?.[1]).toBe(bytes.length - 8 - length);
    const at = 8 + length + arrays['extremes']!.data_offsets[0];
    // Tensors are in the order given; the last one is `plain`.
    expect([view.getFloat32(at + 16, true), view.getFloat32(at + 20, true)]).toEqual([-2, Infinity]);
  });

  it('is the same for the same statistics', () => {
    expect(encodeStatistics(all)).toEqual(encodeStatistics(all));
  });

  it.each<[string, (bytes: Buffer) => Buffer | string, RegExp]>([
    ['a text', () => 'nothing of the kind', /does not hold statistics/],
    ['nothing', () => '', /cut off, or another kind of file/],
    ['all but the end', (bytes) => bytes.subarray(0, -20), /cut off in array/],
    [
      'another kind',
      (bytes) => Buffer.from(bytes.toString('latin1').replace('fxq-statistics', 'xyz-statistics'), 'latin1'),
      /another kind of file/,
    ],
    [
      'another version',
      (bytes) => Buffer.from(bytes.toString('latin1').replace('"version":"1"', '"version":"9"'), 'latin1'),
      /its version is 9, this fxq reads 1/,
    ],
  ])('%s is refused', (_, damage, message) => {
    const path = join(folder, 'bad.fxqstats');
    writeStatistics(all, path);
    writeFileSync(path, damage(readFileSync(path)));
    expect(() => readStatistics(path)).toThrow(message);
  });
});

describe('merging shards', () => {
  const shard = (index: number, count: number, more: Partial<Statistics> = {}): Statistics =>
    statistics([sketchOf([[index]], 'x')], { samples: 1, shards: { count, indices: [index] }, ...more });

  it('makes up the whole in any order', () => {
    const parts = [0, 1, 2].map((i) => shard(i, 3));
    const whole = encodeStatistics(mergeStatistics(parts));
    expect(encodeStatistics(mergeStatistics([parts[2]!, parts[0]!, parts[1]!]))).toEqual(whole);
    const [first, ...rest] = parts;
    expect(encodeStatistics(mergeStatistics([mergeStatistics(rest), first!]))).toEqual(whole);
    expect(mergeStatistics(parts)).toEqual(statistics([sketchOf([[0], [1], [2]], 'x')]));
  });

  it('says which parts it holds until then', () => {
    expect(mergeStatistics([shard(2, 3), shard(0, 3)]).shards).toEqual({ count: 3, indices: [0, 2] });
  });

  it.each<[string, Statistics[], RegExp]>([
    ['another model', [shard(0, 2), shard(1, 2, { modelHash: 'n' })], /different models/],
    ['other data', [shard(0, 2), shard(1, 2, { dataHash: 'e' })], /different data sets/],
    ['other settings', [shard(0, 2), shard(1, 2, { elementsPerSample: 7 })], /different numbers of elements/],
    ['random data', [shard(0, 2), shard(1, 2, { synthetic: true })], /synthetic data/],
    ['other values', [shard(0, 2), shard(1, 2, { tensors: new Map() })], /different values/],
    ['a part twice', [shard(0, 2), shard(0, 2)], /shard 1 of 2 is given twice/],
    ['other divisions', [shard(0, 2), shard(1, 3)], /not shards of one division/],
    ['whole runs', [statistics([plain]), statistics([plain])], /not shards of one division/],
    ['nothing', [], /no statistics to merge/],
  ])('refuses %s', (_, parts, message) => {
    expect(() => mergeStatistics(parts)).toThrow(message);
  });
});

describe('filling a plan', () => {
  const activation = (value: string, more: Partial<ActivationQuantization> = {}): ActivationQuantization => ({
    value,
    format: 'uint8',
    granularity: { kind: 'tensor' },
    scale: [],
    zeroPoint: [],
    why: '',
    tie: value,
    moved: false,
    ...more,
  });
  const planOf = (...activations: ActivationQuantization[]): Plan => ({
    version: 1,
    target: 'onnxruntime-cpu',
    activations: Object.fromEntries(activations.map((a) => [a.value, a])),
    weights: {},
    nodes: {},
  });
  const seen = statistics([sketchOf([[-1, 3]], 'a'), sketchOf([[-5, 1]], 'b')]);
  const fill = (plan: Plan, method: 'minmax' = 'minmax'): Plan['activations'] =>
    assignRanges(plan, seen, { method }, createContext()).activations;

  it('gives every activation its range, scale and zero point', () => {
    const { a } = fill(planOf(activation('a')));
    expect(a).toMatchObject({ range: { low: -1, high: 3, method: 'minmax' }, zeroPoint: [64] });
    expect(a?.scale[0]).toBe(Math.fround(4 / 255));
  });

  it('ties share what all of them saw; moved ones need no statistics', () => {
    const filled = fill(
      planOf(
        activation('a', { tie: 'a' }),
        activation('b', { tie: 'a' }),
        activation('c', { tie: 'a', moved: true }),
      ),
    );
    for (const id of ['a', 'b', 'c'])
      expect(filled[id]).toMatchObject({ range: { low: -5, high: 3 }, scale: filled.a?.scale });
  });

  it('a given range stands', () => {
    const given = activation('zzz', { range: { low: 0, high: 10, method: 'given' } });
    expect(fill(planOf(given)).zzz).toMatchObject({
      range: { low: 0, high: 10, method: 'given' },
      zeroPoint: [0],
    });
  });

  it('a grid with a middle is symmetric', () => {
    const narrow = fill(planOf(activation('a', { format: 'int8-narrow' }))).a;
    expect(narrow).toMatchObject({ range: { low: -3, high: 3 }, zeroPoint: [0] });
  });

  it('a value without statistics is named', () => {
    expect(() => fill(planOf(activation('z')))).toThrow(/no statistics of value 'z'/);
  });

  it('random data and impossible percentiles are pointed out', () => {
    const ctx = createContext();
    const plan = planOf(activation('a'));
    assignRanges(plan, { ...seen, synthetic: true }, { method: 'minmax' }, ctx);
    expect(ctx.notes.map((n) => n.code)).toEqual(['calibration-synthetic']);
    expect(() => assignRanges(plan, seen, { method: 'percentile', percentile: 101 }, ctx)).toThrow(
      /percentile 101/,
    );
  });
});

describe('diagnostics', () => {
  const held = sketchOf(Array.from({ length: 50 }, (_, i) => draw(200, gaussian, 100 + i)));

  it('tell what a range leaves out on other data', () => {
    expect(outOfRange(held, { low: -10, high: 10 })).toEqual({ elements: 0, samples: 0 });
    const narrow = outOfRange(held, { low: -1, high: 1 });
    expect(narrow.samples).toBe(1);
    expect(narrow.elements).toBeGreaterThan(0.28);
    expect(narrow.elements).toBeLessThan(0.35);
  });

  it('tell whether the extremes hang on one sample', () => {
    const steady = sketchOf(Array.from({ length: 20 }, () => [-1, 1]));
    expect(extremeSupport(steady)).toEqual({ low: 1, high: 1 });
    const lonely = sketchOf([...Array.from({ length: 19 }, () => [0, 1]), [0, 9]]);
    expect(extremeSupport(lonely)).toEqual({ low: 1, high: 0.05 });
  });
});
