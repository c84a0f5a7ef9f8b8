/** What the targets claim, asked of the runtime itself. */
import { describe, expect, it } from 'vitest';
import { optimizedGraph } from '../../src/engine/index.js';
import { findTarget, TARGETS } from '../../src/plan/index.js';
import { model } from '../helpers/model.js';
import { quantizeFixed } from '../helpers/quantized.js';

/** One operator between two convolutions, so that its operands are integers and its result is wanted as integer. */
function sandwich(lines: string, channels = 4): ReturnType<typeof model> {
  return model`
    opset 17
    (float32[1,4,8,8] x) => (float32[1,2,H,W] y) {
      w0: float32[4,4,1,1] = random(seed=1, scale=0.3)
      w1: float32[2,${channels},1,1] = random(seed=2, scale=0.3)
      k: float32[4,1,1] = random(seed=3, scale=1)
      half: int64[1] = {2}
      zero: int64[1] = {0}
      pads: int64[8] = {0, 0, 1, 1, 0, 0, 0, 0}
      halves: int64[2] = {4, 4}
      axis: int64[1] = {1}
      shape: int64[4] = {0, 4, 16, 4}
      twice: int64[4] = {1, 1, 2, 1}
      grown: int64[4] = {2, 1, 1, 1}
      scales: float32[4] = {1, 1, 2, 2}
      cond: bool[1] = {1}
      a = Conv(x, w0)
      ${lines}
      y = Conv(m, w1)
    }`;
}

const FOLLOWERS: [operator: string, lines: string, kernel: string, channels?: number][] = [
  ['Add', 'm = Add(a, x)', 'QLinearAdd'],
  ['Add with a constant', 'm = Add(a, k)', 'QLinearAdd'],
  ['AveragePool', 'm = AveragePool<kernel_shape=[2,2]>(a)', 'QLinearAveragePool'],
  ['Concat', 'm = Concat<axis=1>(a, x)', 'QLinearConcat', 8],
  ['GlobalAveragePool', 'm = GlobalAveragePool(a)', 'QLinearGlobalAveragePool'],
  ['LeakyRelu', 'm = LeakyRelu<alpha=0.1>(a)', 'QLinearLeakyRelu'],
  ['Mul', 'm = Mul(a, x)', 'QLinearMul'],
  ['Mul with a constant', 'm = Mul(a, k)', 'QLinearMul'],
  ['Sigmoid', 'm = Sigmoid(a)', 'QLinearSigmoid'],
  ['Softmax', 'm = Softmax<axis=-1>(a)', 'QLinearSoftmax'],
  ['Where', 'm = Where(cond, a, x)', 'QLinearWhere'],
];

const MOVERS: [operator: string, lines: string, kernel: string, channels?: number][] = [
  ['DepthToSpace', 'm = DepthToSpace<blocksize=2>(a)', 'DepthToSpace', 1],
  ['Expand', 'm = Expand(a, grown)', 'Expand'],
  ['Flatten', 'f = Flatten(a)\n m = Reshape(f, shape)', 'Reshape'],
  ['MaxPool', 'm = MaxPool<kernel_shape=[2,2]>(a)', 'NhwcMaxPool'],
  ['Pad', 'm = Pad(a, pads)', 'Pad'],
  ['ReduceMax', 'm = ReduceMax<axes=[2]>(a)', 'ReduceMax'],
  ['ReduceMin', 'm = ReduceMin<axes=[2]>(a)', 'ReduceMin'],
  ['Reshape', 'm = Reshape(a, shape)', 'Reshape'],
  ['Resize', 'm = Resize<mode="nearest">(a, _, scales)', 'Resize'],
  ['Slice', 'm = Slice(a, zero, half, axis)', 'Slice', 2],
  ['Split', 'm, n = Split<axis=2>(a, halves)', 'Split'],
  ['Squeeze', 's = Squeeze(a, zero)\n m = Unsqueeze(s, zero)', 'Unsqueeze'],
  ['Tile', 'm = Tile(a, twice)', 'Tile'],
  ['Transpose', 'm = Transpose<perm=[0,1,3,2]>(a)', 'Transpose'],
];

describe('onnxruntime-cpu', () => {
  it.each(FOLLOWERS)('runs %s on integers between integers', async (_, lines, kernel, channels) => {
    const operators = (await optimizedGraph(await quantizeFixed(sandwich(lines, channels)))).nodes.map(
      (n) => n.opType,
    );
    expect(operators).toContain(kernel);
    expect(operators.filter((op) => op === 'QLinearConv')).toHaveLength(2);
    expect(operators.filter((op) => op === 'QuantizeLinear')).toHaveLength(1);
    expect(operators.filter((op) => op === 'DequantizeLinear')).toHaveLength(1);
  });

  it.each(MOVERS)('moves integers with %s', async (_, lines, kernel, channels) => {
    const operators = (await optimizedGraph(await quantizeFixed(sandwich(lines, channels)))).nodes.map(
      (n) => n.opType,
    );
    expect(operators.filter((op) => op === 'QLinearConv')).toHaveLength(2);
    expect(operators.filter((op) => op === 'QuantizeLinear')).toHaveLength(1);
    expect(operators.filter((op) => op === 'DequantizeLinear')).toHaveLength(1);
    expect(operators).toContain(kernel);
  });

  it('covers every row of its table', () => {
    const rows = Object.entries(TARGETS['onnxruntime-cpu'].operators);
    const named = (role: string): string[] => rows.filter(([, r]) => r.role === role).map(([name]) => name);
    const tested = new Set(
      [...FOLLOWERS, ...MOVERS, ['Unsqueeze'] as const].map(([name]) => name.split(' ')[0]),
    );
    expect([...named('follow'), ...named('move')].filter((name) => !tested.has(name))).toEqual([]);
  });

  it.each(['Sub', 'Div'])(
    'has no integer %s, so it stays float between two convolutions',
    async (operator) => {
      const operators = (
        await optimizedGraph(await quantizeFixed(sandwich(`m = ${operator}(a, x)`)))
      ).nodes.map((n) => n.opType);
      expect(operators).toContain(operator);
      expect(operators.filter((op) => op === 'QLinearConv')).toHaveLength(2);
    },
  );
});

it('names the nearest target when one is mistyped', () => {
  expect(() => findTarget('onnxruntime-cpv')).toThrow("unknown target 'onnxruntime-cpv'");
});
