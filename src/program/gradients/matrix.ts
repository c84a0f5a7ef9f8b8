/** Gradients of matrix products. */
import { FxqError } from '../../core/index.js';
import { describeNode, floatAttribute, intAttribute, stringAttribute } from '../../onnx/index.js';
import { type Program } from '../program.js';
import { dimsOf, rankOf, type Value } from '../value.js';
import { binary, input, outputGradient, type GradientRule } from './rule.js';

/** Y = AB: dA = dY·Bᵀ, dB = Aᵀ·dY. A vector operand is given the axis that the product drops. */
const matmul = binary((p, g, a, b) => {
  const aVector = rankOf(a) === 1;
  const bVector = rankOf(b) === 1;
  const left = aVector ? p.unsqueeze(a, [0]) : a;
  const right = bVector ? p.unsqueeze(b, [1]) : b;
  const gRows = bVector ? p.unsqueeze(g, [-1]) : g;
  const gradient = aVector ? p.unsqueeze(gRows, [-2]) : gRows;
  const da = p.matmul(gradient, p.transposeLast(right));
  const db = p.matmul(p.transposeLast(left), gradient);
  return [aVector ? p.squeeze(da, [-2]) : da, bVector ? p.squeeze(db, [-1]) : db];
});

/** Y = αA'B' + βC, where a prime is a transpose if asked for. */
const gemm: GradientRule = (p, d) => {
  const [a, b, g] = [input(d, 0), input(d, 1), outputGradient(d)];
  const transA = intAttribute(d.node, 'transA', 0) === 1;
  const transB = intAttribute(d.node, 'transB', 0) === 1;
  const alpha = floatAttribute(d.node, 'alpha', 1);
  const beta = floatAttribute(d.node, 'beta', 1);
  const product = (x: Value, transX: boolean, y: Value, transY: boolean): Value =>
    p.gemm(x, y, undefined, { transA: transX, transB: transY, alpha });
  return [
    transA ? product(b, transB, g, true) : product(g, false, b, !transB),
    transB ? product(g, true, a, transA) : product(a, !transA, g, false),
    scaled(p, g, beta),
  ];
};

function scaled(p: Program, g: Value, factor: number): Value {
  return factor === 1 ? g : p.mul(g, factor);
}

/**
 * The gradient of one operand of a sum of products is the sum of products of the others and g. A label that the operand
 * alone has was summed over: its axis gets size 1, which the walk spreads.
 */
const einsum: GradientRule = (p, d) => {
  const equation = stringAttribute(d.node, 'equation', '').replaceAll(' ', '');
  const [left = '', result] = equation.split('->');
  const terms = left.split(',');
  if (
    result === undefined ||
    equation.includes('.') ||
    terms.some((term) => new Set(term).size < term.length)
  ) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `there is no gradient rule for the equation '${equation}' of ${describeNode(d.node)}`,
      'Write the equation with its result, without ellipsis and repeated labels.',
    );
  }
  return terms.map((term, i) => {
    const others = terms.filter((_, k) => k !== i);
    const operands = d.inputs.filter((_, k) => k !== i) as Value[];
    const found = [...term].filter((label) => [...others, result].some((t) => t.includes(label)));
    const dims = found.map((label) => dimsOf(input(d, i))[term.indexOf(label)] ?? null);
    const gradient = p.tape.op(
      'Einsum',
      [outputGradient(d), ...operands],
      { dtype: outputGradient(d).dtype, dims },
      { equation: `${[result, ...others].join(',')}->${found.join('')}` },
    );
    const alone = [...term].flatMap((label, axis) => (found.includes(label) ? [] : [axis]));
    return alone.length === 0 ? gradient : p.unsqueeze(gradient, alone);
  });
};

export const MATRIX = {
  MatMul: matmul,
  Einsum: einsum,
  Gemm: gemm,
} as const satisfies Record<string, GradientRule>;
