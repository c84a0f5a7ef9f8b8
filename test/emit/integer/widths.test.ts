/** Accumulator widths: proofs against the worst inputs, calibrated ranges, repair; and the table of formats. */
import { describe, expect, it } from 'vitest';
import {
  accumulatorRanges,
  accumulatorWidths,
  integerRange,
  integerTable,
  interpret,
  lowerToIntegers,
  narrowAccumulators,
  signedBits,
  type Convolution,
} from '../../../src/emit/integer/index.js';
import { inferValueTypes } from '../../../src/engine/index.js';
import { opsetOf } from '../../../src/onnx/index.js';
import { roundToNearest } from '../../../src/solve/index.js';
import { tensor } from '../../../src/tensor/index.js';
import { model } from '../../helpers/model.js';
import { integerModel, randomInput } from './integer-model.js';

const twoLayers = model`opset 17 (float32[N,3,6,6] x) => (y) {
  w: float32[4,3,3,3] = random(seed=1, scale=0.3)
  b: float32[4] = random(seed=2)
  v: float32[5,64] = random(seed=3, scale=0.2)
  c = Conv(x, w, b)
  r = Relu(c)
  f = Flatten(r)
  y = Gemm<transB=1>(f, v) }`;

const x = randomInput([2, 3, 6, 6]);

describe('signedBits', () => {
  it.each([
    [{ low: 0, high: 0 }, 1],
    [{ low: -1, high: 0 }, 1],
    [{ low: 0, high: 1 }, 2],
    [{ low: -128, high: 127 }, 8],
    [{ low: -129, high: 0 }, 9],
    [{ low: 0, high: 2 ** 31 - 1 }, 32],
    [{ low: 0, high: 2 ** 31 }, 33],
  ])('%o', (range, bits) => expect(signedBits(range)).toBe(bits));
});

describe('accumulatorRanges', () => {
  it('is reached by the worst input of a convolution, and never exceeded', async () => {
    const { lowered } = await integerModel(twoLayers, { x });
    const { program } = lowered;
    const op = program.ops[0] as Convolution;
    const input = program.values.get('x')!;
    const weight = program.constants.get(op.weight)!;
    const bias = program.constants.get(op.bias!)!;
    const ranges = accumulatorRanges(op, (name) => integerRange(program, name), program.constants);
    const real = (code: number): number => (code - input.zeroPoint) * input.scale;
    ranges.forEach((range, m) => {
      for (const side of [1, -1]) {
        // At the centre the window sees these nine inputs of each channel: all at the end that hurts.
        const data = new Float32Array(3 * 36);
        for (let c = 0; c < 3; c++) {
          for (let k = 0; k < 9; k++) {
            const w = weight.codes[(m * 3 + c) * 9 + k]!;
            const at = c * 36 + (1 + Math.floor(k / 3)) * 6 + 1 + (k % 3);
            data[at] = real(w * side > 0 ? input.high : input.low);
          }
        }
        const result = interpret(program, new Map([['x', tensor('float32', [1, 3, 6, 6], data)]]));
        const peak = result.peaks.get(op.node)!;
        const limit = side > 0 ? range.high : range.low;
        // The range also covers the sum without its bias.
        const exact = limit - (side * bias.codes[m]! < 0 ? -bias.codes[m]! : 0);
        expect(side > 0 ? peak.high : peak.low).toBe(exact);
      }
    });
  });

  it('holds for random inputs, all operators included', async () => {
    const everything = model`opset 17 (float32[N,4,8,8] x) => (y) {
      g: float32[8] = random(seed=1, mean=1, scale=0.2)
      b: float32[8] = random(seed=2)
      a = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)
      n = LayerNormalization(a, g, b)
      m = Mul(n, a)
      s = Sub(m, x)
      t = Transpose<perm=[0,1,3,2]>(s)
      p = MatMul(s, t)
      y = ReduceMean<axes=[1]>(p) }`;
    const inputs = { x: randomInput([3, 4, 8, 8]) };
    const { lowered } = await integerModel(everything, inputs, { activations: 'int8' });
    const { peaks } = interpret(lowered.program, new Map([['x', randomInput([3, 4, 8, 8], 9, 4)]]));
    const widths = accumulatorWidths(lowered.program);
    expect(widths.length).toBe(peaks.size);
    for (const { node, bits } of widths) {
      expect([node, signedBits(peaks.get(node)!)]).toEqual([node, expect.any(Number)]);
      expect(signedBits(peaks.get(node)!)).toBeLessThanOrEqual(bits);
    }
  });
});

describe('accumulatorWidths', () => {
  it('needs fewer bits for narrower calibrated ranges', async () => {
    const { lowered } = await integerModel(twoLayers, { x });
    const full = accumulatorWidths(lowered.program);
    const value = lowered.program.values.get('x')!;
    const tenth = { low: -0.1 * value.scale * 128, high: 0.1 * value.scale * 127 };
    const narrow = accumulatorWidths(lowered.program, new Map([['x', tenth]]));
    expect(full[0]!.calibratedBits).toBeUndefined();
    expect(narrow[0]!.bits).toBe(full[0]!.bits);
    expect(narrow[0]!.calibratedBits).toBeLessThanOrEqual(full[0]!.bits - 2);
    expect(narrow[1]!.calibratedBits).toBe(full[1]!.bits);
  });
});

describe('narrowAccumulators', () => {
  it('brings every layer to the asked width by raising scales of the channels that exceed it', async () => {
    const { plan, lowered } = await integerModel(twoLayers, { x });
    const before = accumulatorWidths(lowered.program);
    const limit = Math.min(...before.filter((w) => w.kind !== 'sum').map((w) => w.bits)) - 1;
    const types = await inferValueTypes(twoLayers);
    let current = { plan, program: lowered.program, solved: roundToNearest(twoLayers.graph, plan, 'range') };
    let rounds = 0;
    for (;;) {
      const { plan: next, layers } = narrowAccumulators(current.plan, current.program, current.solved, limit);
      if (layers.length === 0) break;
      expect(++rounds).toBeLessThan(6);
      const solved = roundToNearest(twoLayers.graph, next, 'range');
      const input = { graph: twoLayers.graph, plan: next, solved, types, opset: opsetOf(twoLayers) };
      current = { plan: next, program: (await lowerToIntegers(input)).program, solved };
    }
    for (const width of accumulatorWidths(current.program)) expect(width.bits).toBeLessThanOrEqual(limit);
  });
});

describe('integerTable', () => {
  it('gives binary points, modes, accumulators and shift–add counts', async () => {
    const { plan, lowered } = await integerModel(
      twoLayers,
      { x },
      { activations: 'fix8', weights: 'pot8k2' },
    );
    const solved = roundToNearest(twoLayers.graph, plan, 'range');
    const table = integerTable(lowered.program, plan, solved);
    const row = table.values.find((v) => v.name === 'x')!;
    expect(row).toMatchObject({ bits: 8, signed: true, rounding: 'AP_RND_CONV', overflow: 'AP_SAT' });
    expect(row.scale).toBe(2 ** -row.binaryPoint!);
    expect(table.weights.map((w) => w.name)).toEqual(['w', 'v']);
    for (const { shiftAdds, name, scales, range, binaryPoints, rounding, overflow } of table.weights) {
      const { codes, scale, zeroPoint } = solved.get(name)!;
      expect(scales).toEqual([...scale]);
      expect(binaryPoints).toEqual(scales.map((s) => -Math.log2(s)));
      const widest = Math.max(...scales);
      expect(zeroPoint.every((z) => z === 0)).toBe(true);
      for (const code of codes) {
        expect(code * widest).toBeGreaterThanOrEqual(range[0]);
        expect(code * widest).toBeLessThanOrEqual(range[1]);
      }
      expect([rounding, overflow]).toEqual(['AP_RND_CONV', 'AP_SAT']);
      const count = codes.length;
      expect(shiftAdds!.shifts).toBeLessThanOrEqual(2 * count);
      expect(shiftAdds!.shifts).toBeGreaterThan(count / 2);
    }
    expect(table.accumulators.map((a) => a.kind)).toEqual(['convolution', 'matrix-product']);
    expect(JSON.parse(JSON.stringify(table))).toEqual(table);
  });
});
