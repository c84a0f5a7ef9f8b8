/** Weights in every number format: the written graph gives the runtime exactly the reference's values. */
import { describe, expect, it } from 'vitest';
import { emitQdq } from '../../src/emit/index.js';
import { openSession, withOutputs } from '../../src/engine/index.js';
import { dequantize, formatNames, parseFormat, tensorBytes } from '../../src/formats/index.js';
import { tensorBytes as storedBytes, type Model } from '../../src/onnx/index.js';
import { solvedFormat } from '../../src/plan/index.js';
import { groupingOf, roundToNearest } from '../../src/solve/round-to-nearest.js';
import { tensor, toFloat32 } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { planFixed } from '../helpers/quantized.js';

const layer = (columns: number): Model => model`opset 25 (float32[N,70] x) => (float32[N,${columns}] y) {
  w: float32[70,${columns}] = random(seed=1, scale=0.2)
  y = MatMul(x, w) }`;

describe.each(formatNames())('%s', (name) => {
  const format = parseFormat(name);

  it.each(['tensor', 'channel'] as const)('by %s, or by its own blocks', async (granularity) => {
    const float = layer(24);
    const plan = await planFixed(float, { weights: name, activations: 'float', granularity });
    const quantization = plan.weights.w!;
    const solved = roundToNearest(float.graph, plan, 'range');
    const weight = solved.get('w')!;
    const grouping = groupingOf(quantization.granularity, [70, 24]);
    const expected = dequantize(solvedFormat(quantization, weight), weight, grouping);

    const quantized = emitQdq(float, plan, solved);
    const value = quantized.graph.nodes.find((n) => n.opType === 'MatMul')!.inputs[1]!;
    const session = await openSession(withOutputs(quantized, [value], true), { optimization: 'none' });
    const x = tensor('float32', [1, 70]);
    const actual = toFloat32((await session.run({ x })).get(value)!);
    await session.release();
    expect(actual).toEqual(expected);
    if (format.block !== undefined)
      expect(quantization.granularity).toEqual({ kind: 'block', axis: 0, size: format.block });
  });

  it('takes the bytes it says', async () => {
    const float = layer(64);
    const plan = await planFixed(float, { weights: name, activations: 'float', granularity: 'channel' });
    const solved = roundToNearest(float.graph, plan, 'range');
    const { graph } = emitQdq(float, plan, solved);
    let bytes = 0;
    for (const [initializer, stored] of graph.initializers) {
      // Zero points of symmetric formats, the map of blocks and shapes are not part of the format.
      if (/zero_point|block$|_(shape|start|end|axis)(_\d)?$/.test(initializer)) continue;
      bytes += storedBytes(stored);
    }
    const groups = solved.get('w')!.scale.length;
    const size = { count: 70 * 64, groups: format.scale === 'one' ? 0 : groups, depth: 70 };
    expect(bytes).toBe(tensorBytes(format, size));
  });
});
