/** Equality with onnxruntime, bit for bit, for every format it has QuantizeLinear or Cast for. */
import { describe, expect, it } from 'vitest';
import { openSession } from '../../src/engine/index.js';
import {
  formatNames,
  parseFormat,
  quantize,
  WHOLE_TENSOR,
  type NumberFormat,
} from '../../src/formats/index.js';
import { graph, model, node, value } from '../../src/onnx/index.js';
import { tensor, type Tensor } from '../../src/tensor/index.js';

const runnable = formatNames()
  .map(parseFormat)
  .filter((format) => format.onnx === 'qdq' || format.onnx === 'cast')
  .filter((format) => format.block === undefined);

/** Ties, their float32 neighbours, a dense sweep past both ends, tiny values, infinities. */
function probes(format: NumberFormat, scale: number, zeroPoint: number): Float32Array {
  const values: number[] = [0, -0, 1e-30, -1e-30, 1e30, -1e30, Infinity, -Infinity];
  const step = Math.max(1, Math.floor((format.high - format.low) / 4096));
  for (let code = format.low - 3; code <= format.high + 3; code += step) {
    const level = format.decode(Math.min(Math.max(code, format.low), format.high), zeroPoint);
    const next = format.decode(Math.min(Math.max(code + 1, format.low), format.high), zeroPoint);
    const extra = format.integer ? code - zeroPoint : 0;
    for (const x of [level, (level + next) / 2, level + (next - level) * 0.49, extra + 0.5, extra]) {
      const y = Math.fround(x * scale);
      if (Number.isFinite(y)) values.push(y, y * (1 + 2 ** -23), y * (1 - 2 ** -23));
    }
  }
  if (!format.integer) values.push(NaN);
  return Float32Array.from(values);
}

function asTensor(format: NumberFormat, dims: number[], codes: ArrayLike<number>): Tensor {
  return tensor(format.dtype, dims, Array.from(codes));
}

async function quantizeInRuntime(format: NumberFormat, x: Float32Array, scale: number, zeroPoint: number) {
  const clip = format.integer;
  const nodes = [
    ...(clip ? [node('Clip', ['x', 'low', 'high'], ['clipped'])] : []),
    node('QuantizeLinear', [clip ? 'clipped' : 'x', 'scale', 'zero'], ['q']),
    // The binding has no float8 tensors, so codes are compared through their values as well as, for integers, directly.
    node('DequantizeLinear', ['q', 'scale', 'zero'], ['y']),
  ];
  const bound = (code: number): Tensor => tensor('float32', [], [(code - zeroPoint) * scale]);
  const m = model(
    graph({
      inputs: [value('x', 'float32', [x.length])],
      outputs: [value('y', 'float32')],
      nodes,
      initializers: [
        ['scale', tensor('float32', [], [scale])],
        ['zero', asTensor(format, [], [zeroPoint])],
        ...(clip
          ? ([
              ['low', bound(format.low)],
              ['high', bound(format.high)],
            ] as const)
          : []),
      ],
    }),
    Math.max(format.opset, 21),
  );
  const session = await openSession(m, { optimization: 'none', threads: 1 });
  const y = (await session.run({ x: tensor('float32', [x.length], x) })).get('y')!.data as Float32Array;
  await session.release();
  return y;
}

describe.each(runnable.filter((f) => f.onnx === 'qdq').map((f) => [f.name, f] as const))(
  '%s',
  (_, format) => {
    const scales = format.scale === 'power-of-two' ? [2 ** -5, 4] : [0.037, 2 ** -5, 1.7e3];
    const zeroPoints = format.affine ? [0, format.low, format.low + 1, format.high] : [0];

    it('quantizes as QuantizeLinear', async () => {
      for (const scale of scales.map(Math.fround)) {
        for (const zeroPoint of zeroPoints) {
          const x = probes(format, scale, zeroPoint);
          const parameters = { scale: Float32Array.of(scale), zeroPoint: Int32Array.of(zeroPoint) };
          const { codes } = quantize(format, x, WHOLE_TENSOR, parameters);
          const expected = await quantizeInRuntime(format, x, scale, zeroPoint);
          const actual = Float32Array.from(codes, (code) => format.decode(code, zeroPoint) * scale);
          const wrong = [...x.keys()].filter((i) => !Object.is(actual[i]! + 0, expected[i]! + 0));
          expect(wrong.map((i) => [x[i], actual[i], expected[i]])).toEqual([]);
        }
      }
    });

    it('decodes every code as DequantizeLinear', async () => {
      const codes = Array.from(
        { length: Math.min(format.high - format.low + 1, 65536) },
        (_, i) => format.low + i,
      );
      const scale = Math.fround(scales[0]!);
      const m = model(
        graph({
          inputs: [],
          outputs: [value('y', 'float32')],
          nodes: [node('DequantizeLinear', ['q', 'scale'], ['y'])],
          initializers: [
            ['q', asTensor(format, [codes.length], codes)],
            ['scale', tensor('float32', [], [scale])],
          ],
        }),
        Math.max(format.opset, 21),
      );
      const session = await openSession(m, { optimization: 'none', threads: 1 });
      const y = (await session.run({})).get('y')!.data as Float32Array;
      await session.release();
      const wrong = codes.filter((code, i) => !Object.is(Math.fround(format.decode(code) * scale), y[i]));
      expect(wrong).toEqual([]);
    });
  },
);

describe.each(runnable.filter((f) => f.onnx === 'cast').map((f) => [f.name, f] as const))(
  '%s',
  (_, format) => {
    it('rounds as Cast, and decodes every pattern', async () => {
      const patterns = Array.from({ length: 65536 }, (_, i) => i);
      const levels = Float32Array.from(patterns, (code) => format.decode(code));
      const values: number[] = [NaN, Infinity, -Infinity, 1e-40, 3.4e38];
      for (let i = 0; i + 1 < 0x8000; i += 7) {
        const middle = Math.fround((levels[i]! + levels[i + 1]!) / 2);
        for (const x of [levels[i]!, middle, middle * (1 + 2 ** -22), middle * (1 - 2 ** -22)])
          values.push(x, -x);
      }
      const x = Float32Array.from(values);
      const m = model(
        graph({
          inputs: [value('x', 'float32', [x.length])],
          outputs: [value('y', 'float32'), value('z', 'float32')],
          nodes: [
            node('Cast', ['x'], ['h'], { to: format.dtype === 'float16' ? 10 : 16 }),
            node('Cast', ['h'], ['y'], { to: 1 }),
            node('Cast', ['all'], ['z'], { to: 1 }),
          ],
          initializers: [['all', asTensor(format, [65536], patterns)]],
        }),
      );
      const session = await openSession(m, { optimization: 'none', threads: 1 });
      const results = await session.run({ x: tensor('float32', [x.length], x) });
      await session.release();
      const y = results.get('y')!.data as Float32Array;
      expect([...x.keys()].filter((i) => !Object.is(format.decode(format.encode(x[i]!)), y[i]))).toEqual([]);
      expect(
        patterns.filter((i) => !Object.is(levels[i], (results.get('z')!.data as Float32Array)[i])),
      ).toEqual([]);
    });
  },
);
