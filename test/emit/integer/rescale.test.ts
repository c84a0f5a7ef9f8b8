/** Rescaling: exact against BigInt, and every ap_fixed mode pair in the runtime as in the interpreter. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  channelRescaler,
  interpret,
  multiplierFor,
  resultWord,
  roundShift,
  scaleAndRound,
  writeProgram,
  type CodeValue,
  type IntegerProgram,
  type Rescale,
} from '../../../src/emit/integer/index.js';
import {
  OVERFLOW,
  ROUNDING,
  castToWord,
  parseFormat,
  type Overflow,
  type Rounding,
} from '../../../src/formats/index.js';
import { graph, model, value, type Node } from '../../../src/onnx/index.js';
import { tensor, toFloat32 } from '../../../src/tensor/index.js';
import { runModel } from './integer-model.js';

const roundings = Object.keys(ROUNDING) as Rounding[];
const pairs = roundings.flatMap((r) => Object.keys(OVERFLOW).map((o) => [r, o as Overflow] as const));
const UNLIMITED = { low: -Infinity, high: Infinity };

/** Rounds p / 2^shift in BigInt, straight from the definitions. */
function define(p: bigint, shift: bigint, rounding: Rounding): bigint {
  const unit = 1n << shift;
  const floor = p >> shift;
  const rest = p - floor * unit;
  if (rest === 0n) return floor;
  const up = floor + 1n;
  if (rounding === 'AP_TRN') return floor;
  if (rounding === 'AP_TRN_ZERO') return p < 0n ? up : floor;
  if (2n * rest !== unit) return 2n * rest > unit ? up : floor;
  switch (rounding) {
    case 'AP_RND':
      return up;
    case 'AP_RND_MIN_INF':
      return floor;
    case 'AP_RND_ZERO':
      return p < 0n ? up : floor;
    case 'AP_RND_INF':
      return p < 0n ? floor : up;
    case 'AP_RND_CONV':
      return floor % 2n === 0n ? floor : up;
  }
}

describe('scaleAndRound', () => {
  it.each(roundings)('%s is exact for int32 times 31-bit multipliers', (rounding) => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.integer({ min: 0, max: 62 }),
        (v, m, n) => {
          const expected = define(BigInt(v) * BigInt(m), BigInt(n), rounding);
          // Results beyond 2^53 have no exact number; codes never get there.
          if (n >= 10) expect(BigInt(scaleAndRound(v, m, n, rounding))).toBe(expected);
          expect(roundShift(BigInt(v) * BigInt(m), n, rounding)).toBe(expected);
        },
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  it('decides ties as the mode says', () => {
    const ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5];
    for (const rounding of roundings)
      for (const tie of ties)
        expect(scaleAndRound(tie * 2, 1, 1, rounding) + 0).toBe(ROUNDING[rounding](tie) + 0);
  });
});

describe('multiplierFor', () => {
  it('is a shift alone for powers of two', () => {
    for (let e = 0; e <= 40; e++) expect(multiplierFor(2 ** -e, 31)).toEqual({ multiplier: 1, shift: e });
    expect(multiplierFor(8, 31)).toEqual({ multiplier: 8, shift: 0 });
  });

  it('is as close as its bits allow', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-9, max: 100, noNaN: true }), (ratio) => {
        const { multiplier, shift } = multiplierFor(ratio, 31);
        expect(multiplier).toBeLessThan(2 ** 31);
        expect(Math.abs((multiplier / 2 ** shift - ratio) / ratio)).toBeLessThanOrEqual(2 ** -30);
      }),
      { seed: 2 },
    );
  });
});

describe('channelRescaler', () => {
  const rescale = (extra: Partial<Rescale>): Rescale => ({
    multiplier: [1],
    shift: [2],
    axis: 0,
    rounding: 'AP_RND',
    overflow: 'AP_SAT',
    limits: UNLIMITED,
    ...extra,
  });

  it('rounds, limits, then saturates around the zero point', () => {
    const { word } = resultWord(parseFormat('uint8'));
    const code = channelRescaler(rescale({ limits: { low: 0, high: 24 } }), 0, 100, word);
    expect([-50, 6, 98, 400, 2000].map(code)).toEqual([100, 102, 124, 124, 124]);
    const free = channelRescaler(rescale({}), 0, 100, word);
    expect([-500, -50, 2000].map(free)).toEqual([0, 88, 255]);
  });

  it('takes the multiplier of its channel', () => {
    const { word } = resultWord(parseFormat('int16'));
    const how = rescale({ multiplier: [3, 5], shift: [0, 1] });
    expect([0, 1].map((c) => channelRescaler(how, c, 0, word)(10))).toEqual([30, 25]);
  });
});

/** A program of one operation: codes of one value become codes of another. */
function oneRescale(from: string, to: string, rescale: Rescale): IntegerProgram {
  const codeValue = (name: string, format: string): CodeValue => {
    const { low, high } = parseFormat(format);
    return { name, dims: ['N', 2], format, scale: 1, zeroPoint: 0, low, high };
  };
  return {
    values: new Map([
      ['a', codeValue('a', from)],
      ['b', codeValue('b', to)],
    ]),
    constants: new Map(),
    inputs: [{ real: 'x', codes: 'a' }],
    ops: [{ kind: 'sum', node: 'n', terms: [{ x: 'a', multiplier: 1 }], rescale, output: 'b' }],
    outputs: [{ real: 'y', codes: 'b' }],
  };
}

async function inRuntime(program: IntegerProgram, x: Float32Array): Promise<Float32Array> {
  let count = 0;
  const { nodes, initializers } = writeProgram(program, (base) => `${base}_${count++}`, 13);
  const g = graph({
    inputs: [value('x', 'float32', ['N', 2])],
    outputs: [value('y', 'float32')],
    nodes: nodes as Node[],
    initializers,
  });
  const outputs = await runModel(model(g, 13), { x: tensor('float32', [x.length / 2, 2], x) });
  return outputs.get('y')!;
}

function inInterpreter(program: IntegerProgram, x: Float32Array): Float32Array {
  const { outputs } = interpret(program, new Map([['x', tensor('float32', [x.length / 2, 2], x)]]));
  return toFloat32(outputs.get('y')!);
}

describe.each(pairs)('%s %s', (rounding, overflow) => {
  const target = `fix6:${rounding}:${overflow}`;
  const { word } = resultWord(parseFormat(target));
  const everyCode = Float32Array.from({ length: 1024 }, (_, i) => i - 512);

  it('rescales all 10-bit codes to 6 bits alike, by a shift alone', async () => {
    const rescale = { multiplier: [1], shift: [2], axis: 0, rounding, overflow, limits: UNLIMITED };
    const program = oneRescale('fix10', target, rescale);
    const expected = everyCode.map((v) => castToWord(v / 4, word, rounding, overflow) + 0);
    expect(inInterpreter(program, everyCode)).toEqual(expected);
    expect(await inRuntime(program, everyCode)).toEqual(expected);
  });

  it('rescales with multipliers by channel and a fused activation', async () => {
    const rescale = {
      ...{ multiplier: [1431655765, 3], shift: [33, 0], axis: 1, rounding, overflow },
      limits: { low: -20, high: 45 },
    };
    const program = oneRescale('fix10', target, rescale);
    expect(await inRuntime(program, everyCode)).toEqual(inInterpreter(program, everyCode));
  });

  it('quantizes real inputs alike', async () => {
    const keep = { multiplier: [1], shift: [0], axis: 0, rounding, overflow, limits: UNLIMITED };
    const program = oneRescale(target, target, keep);
    const reals = Float32Array.from({ length: 2000 }, (_, i) => (i - 1000) / 16);
    const expected = reals.map((v) => castToWord(v, word, rounding, overflow) + 0);
    expect(inInterpreter(program, reals)).toEqual(expected);
    expect(await inRuntime(program, reals)).toEqual(expected);
  });
});
