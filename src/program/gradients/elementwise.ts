/** Gradients of element-wise operators. g is the output's gradient, x, a, b are inputs, y is the output. */
import { floatAttribute, stringAttribute } from '../../onnx/index.js';
import { type Program } from '../program.js';
import { type Value } from '../value.js';
import { binary, input, outputGradient, output, unary, zero, type GradientRule } from './rule.js';

/** Min and Max hand the gradient to the operands that attain the result, in equal parts where several do. */
const extremum: GradientRule = (p, d) => {
  const g = outputGradient(d);
  const y = output(d);
  const attains = d.inputs.map((x) => p.cast(p.equal(x as Value, y), g.dtype));
  const share = p.div(g, p.sum(attains as [Value, ...Value[]]));
  return attains.map((hit) => p.mul(hit, share));
};

/** Φ(x), the normal distribution function, as it occurs in Gelu. */
function normalCdf(p: Program, x: Value): Value {
  return p.mul(p.add(p.erf(p.mul(x, Math.SQRT1_2)), 1), 0.5);
}

/** d/dx x·Φ(x) = Φ(x) + x·φ(x), or the same for Φ ≈ (1 + tanh u)/2, u = √(2/π)(x + 0.044715x³). */
const gelu = unary((p, g, x, _y, node) => {
  if (stringAttribute(node, 'approximate', 'none') === 'none') {
    const density = p.mul(p.exp(p.mul(p.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return p.mul(g, p.add(normalCdf(p, x), p.mul(x, density)));
  }
  const c = Math.sqrt(2 / Math.PI);
  const square = p.square(x);
  const t = p.tanh(p.mul(p.mul(x, c), p.add(p.mul(square, 0.044715), 1)));
  const slope = p.mul(p.add(p.mul(square, 3 * 0.044715), 1), c);
  const half = p.mul(p.add(t, 1), 0.5);
  return p.mul(g, p.add(half, p.mul(p.mul(x, 0.5), p.mul(p.sub(1, p.square(t)), slope))));
});

/** The gradient passes where the value was not changed; a bound gets what was cut at it. */
const clip: GradientRule = (p, d) => {
  const [g, x, y] = [outputGradient(d), input(d, 0), output(d)];
  const [, low, high] = d.inputs;
  return [
    p.mul(g, p.cast(p.equal(x, y), g.dtype)),
    low === undefined ? undefined : p.maskedBy(g, p.less(x, low)),
    high === undefined ? undefined : p.maskedBy(g, p.greater(x, high)),
  ];
};

export const ELEMENTWISE = {
  Identity: unary((_p, g) => g),
  Cast: unary((p, g, x) => p.cast(g, x.dtype)),

  Add: binary((_p, g) => [g, g]),
  Sub: binary((p, g) => [g, p.neg(g)]),
  // A square is one product, not the sum of two.
  Mul: binary((p, g, a, b) =>
    a.name === b.name ? [p.mul(p.mul(g, 2), a), undefined] : [p.mul(g, b), p.mul(g, a)],
  ),
  Div: binary((p, g, _a, b, y) => [p.div(g, b), p.neg(p.mul(g, p.div(y, b)))]),
  // d(aᵇ) = b·aᵇ⁻¹ da + aᵇ·ln a db
  Pow: binary((p, g, a, b, y) => {
    const exponent = p.cast(b, a.dtype);
    return [p.mul(g, p.mul(exponent, p.pow(a, p.sub(exponent, 1)))), p.mul(g, p.mul(y, p.log(a)))];
  }),
  Min: extremum,
  Max: extremum,
  Sum: (_p, d) => d.inputs.map(() => outputGradient(d)),
  Mean: (p, d) => d.inputs.map(() => p.mul(outputGradient(d), 1 / d.inputs.length)),
  Where: (p, d) => {
    const [g, condition] = [outputGradient(d), input(d, 0)];
    return [undefined, p.maskedBy(g, condition), p.where(condition, 0, g)];
  },

  Neg: unary((p, g) => p.neg(g)),
  Abs: unary((p, g, x) => p.mul(g, p.sign(x))),
  Reciprocal: unary((p, g, _x, y) => p.neg(p.mul(g, p.square(y)))),
  Sqrt: unary((p, g, _x, y) => p.div(p.mul(g, 0.5), y)),
  Exp: unary((p, g, _x, y) => p.mul(g, y)),
  Log: unary((p, g, x) => p.div(g, x)),
  Sin: unary((p, g, x) => p.mul(g, p.cos(x))),
  Cos: unary((p, g, x) => p.neg(p.mul(g, p.sin(x)))),
  // d erf(x) = 2/√π · e^(−x²)
  Erf: unary((p, g, x) => p.mul(g, p.mul(p.exp(p.neg(p.square(x))), 2 / Math.sqrt(Math.PI)))),
  Tanh: unary((p, g, _x, y) => p.mul(g, p.sub(1, p.square(y)))),
  Sigmoid: unary((p, g, _x, y) => p.mul(g, p.mul(y, p.sub(1, y)))),
  Softplus: unary((p, g, x) => p.mul(g, p.sigmoid(x))),

  // A product with the mask takes two thirds of the time of Where (bench/program).
  Relu: unary((p, g, _x, y) => p.mul(g, p.cast(p.greater(y, 0), g.dtype))),
  LeakyRelu: unary((p, g, x, _y, node) =>
    p.where(p.less(x, 0), p.mul(g, floatAttribute(node, 'alpha', 0.01)), g),
  ),
  PRelu: binary((p, g, x, slope) => {
    const negative = p.less(x, 0);
    return [p.where(negative, p.mul(g, slope), g), p.maskedBy(p.mul(g, x), negative)];
  }),
  // max(0, min(1, αx + β)): slope α strictly inside
  HardSigmoid: unary((p, g, _x, y, node) =>
    p.maskedBy(p.mul(g, floatAttribute(node, 'alpha', 0.2)), p.and(p.greater(y, 0), p.less(y, 1))),
  ),
  // x · max(0, min(1, x/6 + 1/2)): 0 up to −3, x/3 + 1/2 between, 1 from 3 on
  HardSwish: unary((p, g, x) => {
    const slope = p.add(p.div(x, 3), 0.5);
    return p.mul(g, p.where(p.lessOrEqual(x, -3), 0, p.where(p.greaterOrEqual(x, 3), 1, slope)));
  }),
  Elu: unary((p, g, x, y, node) =>
    p.where(p.less(x, 0), p.mul(g, p.add(y, floatAttribute(node, 'alpha', 1))), g),
  ),
  // Below zero y = γα(eˣ − 1)
  Selu: unary((p, g, x, y, node) => {
    const [alpha, gamma] = [floatAttribute(node, 'alpha', 1.67326), floatAttribute(node, 'gamma', 1.0507)];
    return p.mul(g, p.where(p.less(x, 0), p.add(y, alpha * gamma), gamma));
  }),
  // Below zero y = α(e^(x/α) − 1)
  Celu: unary((p, g, x, y, node) =>
    p.where(p.less(x, 0), p.mul(g, p.add(p.div(y, floatAttribute(node, 'alpha', 1)), 1)), g),
  ),
  ThresholdedRelu: unary((p, g, x, _y, node) =>
    p.maskedBy(g, p.greater(x, floatAttribute(node, 'alpha', 1))),
  ),
  // y = x/(1 + |x|), so that y' = (1 − |y|)²
  Softsign: unary((p, g, _x, y) => p.mul(g, p.square(p.sub(1, p.abs(y))))),
  // y = x·t with t = tanh(softplus x)
  Mish: unary((p, g, x) => {
    const t = p.tanh(p.softplus(x));
    return p.mul(g, p.add(t, p.mul(p.mul(x, p.sigmoid(x)), p.sub(1, p.square(t)))));
  }),
  Clip: clip,
  Gelu: gelu,

  Round: zero,
  Floor: zero,
  Ceil: zero,
  Sign: zero,
} as const satisfies Record<string, GradientRule>;
