/** Gradient rules of element-wise operators: one line an operator. */
import { describe, it } from 'vitest';
import { float } from '../../../src/onnx/index.js';
import { type Program, type Value } from '../../../src/program/index.js';
import { tensor } from '../../../src/tensor/index.js';
import { expectGradient, normal, positive, spaced, type GradientCase } from '../expect-gradient.js';

type Unary = (p: Program, x: Value) => Value;

const at = (f: (x: number) => number) => (inputs: readonly Float64Array[], g: Float64Array) => [
  Float64Array.from(inputs[0] as Float64Array, (x, i) => (g[i] ?? 0) * f(x)),
];

const UNARY: Record<string, [Unary, GradientCase?]> = {
  Neg: [(p, x) => p.neg(x), { dtype: 'float64', closedForm: at(() => -1) }],
  Abs: [(p, x) => p.abs(x), { dtype: 'float64', draw: spaced, closedForm: at(Math.sign) }],
  Reciprocal: [
    (p, x) => p.reciprocal(x),
    { dtype: 'float64', draw: positive, closedForm: at((x) => -1 / (x * x)) },
  ],
  Sqrt: [
    (p, x) => p.sqrt(x),
    { dtype: 'float64', draw: positive, closedForm: at((x) => 0.5 / Math.sqrt(x)) },
  ],
  Exp: [(p, x) => p.exp(x), { dtype: 'float64', closedForm: at(Math.exp) }],
  Log: [(p, x) => p.log(x), { dtype: 'float64', draw: positive, closedForm: at((x) => 1 / x) }],
  Sin: [(p, x) => p.sin(x), { dtype: 'float64', closedForm: at(Math.cos) }],
  Cos: [(p, x) => p.cos(x), { closedForm: at((x) => -Math.sin(x)) }],
  Erf: [(p, x) => p.erf(x), { closedForm: at((x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x)) }],
  Tanh: [(p, x) => p.tanh(x), { dtype: 'float64', closedForm: at((x) => 1 - Math.tanh(x) ** 2) }],
  Sigmoid: [
    (p, x) => p.sigmoid(x),
    { dtype: 'float64', closedForm: at((x) => Math.exp(-x) / (1 + Math.exp(-x)) ** 2) },
  ],
  Softplus: [(p, x) => p.softplus(x), { closedForm: at((x) => 1 / (1 + Math.exp(-x))) }],
  Relu: [(p, x) => p.relu(x), { dtype: 'float64', draw: spaced, closedForm: at((x) => Number(x > 0)) }],
  LeakyRelu: [(p, x) => p.leakyRelu(x, 0.3), { draw: spaced, closedForm: at((x) => (x > 0 ? 1 : 0.3)) }],
  HardSigmoid: [(p, x) => p.hardSigmoid(x, 0.7, 0.4), { draw: spaced }],
  HardSwish: [(p, x) => p.hardSwish(x), { draw: (rng, n) => spaced(rng, n).map((v) => 1.9 * v) }],
  Elu: [
    (p, x) => p.tape.op('Elu', [x], x),
    { draw: spaced, closedForm: at((x) => (x > 0 ? 1 : Math.exp(x))) },
  ],
  Selu: [(p, x) => p.tape.op('Selu', [x], x), { draw: spaced }],
  Celu: [(p, x) => p.tape.op('Celu', [x], x, { alpha: float(1.5) }), { draw: spaced }],
  ThresholdedRelu: [(p, x) => p.tape.op('ThresholdedRelu', [x], x, { alpha: float(0.6) }), { draw: spaced }],
  Softsign: [
    (p, x) => p.tape.op('Softsign', [x], x),
    { draw: spaced, closedForm: at((x) => (1 + Math.abs(x)) ** -2) },
  ],
  Mish: [(p, x) => p.tape.op('Mish', [x], x)],
  Gelu: [(p, x) => p.gelu(x)],
  'Gelu, tanh': [(p, x) => p.gelu(x, 'tanh')],
  Identity: [(p, x) => p.identity(x), { closedForm: at(() => 1) }],
  'Cast to float64 and back': [
    (p, x) => p.cast(p.square(p.cast(x, 'float64')), 'float32'),
    { closedForm: at((x) => 2 * x) },
  ],
  'Clip to constants': [
    (p, x) => p.clip(x, -0.6, 0.8),
    { draw: spaced, closedForm: at((x) => Number(x > -0.6 && x < 0.8)) },
  ],
  'Clip from below': [(p, x) => p.clip(x, 0), { draw: spaced, closedForm: at((x) => Number(x > 0)) }],
  Square: [(p, x) => p.square(x), { dtype: 'float64', closedForm: at((x) => 2 * x) }],
};

describe('gradients of element-wise operators', () => {
  for (const [name, [op, options]] of Object.entries(UNARY)) {
    it(name, () => expectGradient(op, [[3, 5]], options));
  }
});

/** Pairs of shapes: equal, row, column, scalar, missing axes on either side, both broadcast. */
const PAIRS = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [
    [2, 3],
    [2, 1],
  ],
  [[], [2, 3]],
  [
    [3, 1],
    [1, 4],
  ],
  [
    [2, 1, 3],
    [4, 1],
  ],
] as const;

describe('gradients of binary operators, broadcast', () => {
  const f64: GradientCase = { dtype: 'float64' };
  for (const [a, b] of PAIRS) {
    const shapes = [a, b];
    const label = `[${a.join()}] and [${b.join()}]`;
    it(`Add ${label}`, () => expectGradient((p, x, y) => p.add(x, y), shapes, f64));
    it(`Sub ${label}`, () => expectGradient((p, x, y) => p.sub(x, y), shapes, f64));
    it(`Mul ${label}`, () => expectGradient((p, x, y) => p.mul(x, y), shapes, f64));
    it(`Div ${label}`, () =>
      expectGradient((p, x, y) => p.div(x, y), shapes, { ...f64, draw: [normal, positive] }));
    it(`Pow ${label}`, () =>
      expectGradient((p, x, y) => p.pow(x, y), shapes, { ...f64, draw: [positive, normal] }));
    it(`Min ${label}`, () => expectGradient((p, x, y) => p.min(x, y), shapes, { ...f64, draw: disjoint }));
    it(`Max ${label}`, () => expectGradient((p, x, y) => p.max(x, y), shapes, { ...f64, draw: disjoint }));
  }
});

describe('gradients of choices', () => {
  const prelu = (p: Program, x: Value, slope: Value) => p.tape.op('PRelu', [x, slope], x);
  it('PRelu, one slope a channel', () =>
    expectGradient(
      prelu,
      [
        [2, 3, 4],
        [3, 1],
      ],
      { draw: [spaced, normal] },
    ));
  it('PRelu, one slope', () => expectGradient(prelu, [[2, 3], [1]], { draw: [spaced, normal] }));
  it('Where', () =>
    expectGradient(
      (p, a, b) => p.where(p.constant(tensor('bool', [2, 3], [1, 0, 1, 0, 0, 1])), a, b),
      [[2, 3], [3]],
      {
        dtype: 'float64',
        closedForm: (_x, g) => [
          [g[0] ?? 0, 0, g[2] ?? 0, 0, 0, g[5] ?? 0],
          [g[3] ?? 0, (g[1] ?? 0) + (g[4] ?? 0), 0],
        ],
      },
    ));
  it('Clip at bounds that are computed', () =>
    expectGradient((p, x, low, high) => p.clip(x, low, high), [[3, 5], [], []], {
      draw: [spaced, () => [-0.6], () => [0.8]],
    }));
  it('Sum of three', () =>
    expectGradient(
      (p, a, b, c) => p.tape.op('Sum', [a, b, c], { dtype: 'float32', dims: [2, 3] }),
      [[2, 3], [3], []],
    ));
  it('Mean of two', () =>
    expectGradient(
      (p, a, b) => p.tape.op('Mean', [a, b], { dtype: 'float32', dims: [2, 3] }),
      [
        [2, 3],
        [2, 1],
      ],
    ));
});

const disjoint = [
  spaced,
  (rng: Parameters<typeof spaced>[0], n: number) => spaced(rng, n).map((v) => v + 0.1),
];
