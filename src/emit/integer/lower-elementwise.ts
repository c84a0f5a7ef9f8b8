/** Element-wise sums and products, limits, and functions of one variable as tables. */
import { parseFormat } from '../../formats/index.js';
import { openSession } from '../../engine/index.js';
import { graph, model, node as createNode, value, type Node } from '../../onnx/index.js';
import { sizeOf, tensor, toFloat32 } from '../../tensor/index.js';
import { hull } from './accumulator.js';
import { refuse, type Lowering } from './lowering.js';
import { type CodeValue } from './program.js';
import { limitsInUnits } from './rescale.js';

/** An operand of an element-wise node: a value or a quantized constant, with the real value of one unit. */
interface Operand {
  readonly name: string;
  readonly scale: number;
}

function operand(node: Node, to: Lowering, index: number): Operand {
  const weight = to.weight(node, index, undefined);
  if (weight === undefined) return to.operand(node, index);
  return {
    name: to.constant(`${node.name}_constant`, weight.dims, weight.codes),
    scale: weight.scale[0] ?? 1,
  };
}

/** Bits of the sum's accumulator: int32 with room for the rounding constant, or int64 when that is too coarse. */
const NARROW_SUM = 30;
const WIDE_SUM = 50;

/** Rounded multipliers move a result by at most 2^(−1 − this) of its unit for each operand. */
const GUARD_BITS = 6;

/** Add and Sub: both operands at a common scale `s_y · 2^(−n)`, then one rounding shift. */
export function lowerSum(node: Node, to: Lowering, sign: 1 | -1): void {
  const operands = [operand(node, to, 0), operand(node, to, 1)];
  const result = to.result(node);
  const ratios = operands.map(({ scale }) => scale / result.value.scale);
  const range = operands.map(({ name }) => to.rangeOf(name)).reduce(hull);
  const shift = commonShift(ratios, Math.max(-range.low, range.high));
  const terms = operands.map(({ name }, i) => ({
    x: name,
    multiplier: (i === 0 ? 1 : sign) * Math.round((ratios[i] ?? 1) * 2 ** shift),
  }));
  to.accumulate(node, { kind: 'sum', terms }, [result.value.scale * 2 ** -shift], result);
}

/** Fractional bits of the common scale, for operands up to `largest`. */
function commonShift(ratios: readonly number[], largest: number): number {
  const exponents = ratios.map(Math.log2);
  if (exponents.every(Number.isInteger)) return Math.max(0, -Math.min(...exponents));
  const operandBits = Math.log2(largest * ratios.length);
  const top = Math.ceil(Math.max(...exponents) + operandBits);
  const narrow = NARROW_SUM - top;
  return narrow - operandBits >= GUARD_BITS ? narrow : WIDE_SUM - top;
}

export function lowerAdd(node: Node, to: Lowering): void {
  lowerSum(node, to, 1);
}

export function lowerSub(node: Node, to: Lowering): void {
  lowerSum(node, to, -1);
}

/** Mul; a constant number goes into the rescale. */
export function lowerMul(node: Node, to: Lowering): void {
  const constant = [0, 1].find((i) => isNumber(node, to, i));
  if (constant !== undefined) {
    lowerFactor(node, to, 1 - constant, to.reals(node, constant)?.values[0] ?? 1);
    return;
  }
  const a = operand(node, to, 0);
  const b = operand(node, to, 1);
  to.accumulate(node, { kind: 'product', a: a.name, b: b.name }, [a.scale * b.scale], to.result(node));
}

export function lowerDiv(node: Node, to: Lowering): void {
  if (!isNumber(node, to, 1)) throw refuse(node, 'its divisor is not a constant number');
  lowerFactor(node, to, 0, 1 / (to.reals(node, 1)?.values[0] ?? 1));
}

function isNumber(node: Node, to: Lowering, index: number): boolean {
  return to.isConstant(node, index) && sizeOf(to.reals(node, index)?.dims ?? [2]) === 1;
}

function lowerFactor(node: Node, to: Lowering, index: number, factor: number): void {
  const x = to.operand(node, index);
  const result = to.result(node);
  if (factor === 0 || !Number.isFinite(factor)) throw refuse(node, `it multiplies by ${factor}`);
  const terms = [{ x: x.name, multiplier: Math.sign(factor) }];
  to.accumulate(node, { kind: 'sum', terms }, [x.scale * Math.abs(factor)], result);
}

/** Relu and Clip that could not be folded into the node before them. */
export function lowerLimits(node: Node, to: Lowering, limits: { low: number; high: number }): void {
  const x = to.operand(node, 0);
  const result = to.result(node);
  const bounded = { ...result, limits: limitsInUnits(limits, result.value.scale, result.format) };
  to.accumulate(node, { kind: 'sum', terms: [{ x: x.name, multiplier: 1 }] }, [x.scale], bounded);
}

/** A function of one variable: its value at every code, computed in float by the runtime and quantized. */
export async function lowerTable(node: Node, to: Lowering): Promise<void> {
  const x = to.operand(node, 0);
  const result = to.result(node);
  const reals = await evaluate(node, to, x);
  const format = parseFormat(result.value.format);
  const { scale, zeroPoint } = result.value;
  const table = Int32Array.from(reals, (y) => {
    const code = format.encode(Math.fround(y / scale), zeroPoint);
    return Math.min(Math.max(code, result.value.low), result.value.high);
  });
  to.push({ kind: 'table', node: node.name, x: x.name, table, output: result.value.name });
}

async function evaluate(node: Node, to: Lowering, x: CodeValue): Promise<Float32Array> {
  const reals = Float32Array.from(
    { length: x.high - x.low + 1 },
    (_, i) => (x.low + i - x.zeroPoint) * x.scale,
  );
  const others = node.inputs.slice(1).filter((name) => name !== '');
  const initializers = others.map((name, i) => {
    const stored = to.input.graph.initializers.get(name);
    if (stored === undefined || sizeOf(stored.dims) !== 1)
      throw refuse(node, `its input ${i + 1} is not a constant number`);
    return [name, stored] as const;
  });
  const alone = model(
    graph({
      inputs: [value('x', 'float32', [reals.length])],
      outputs: [value('y', 'float32')],
      nodes: [
        {
          ...createNode(node.opType, ['x', ...node.inputs.slice(1)], ['y']),
          domain: node.domain,
          attributes: node.attributes,
        },
      ],
      initializers: initializers,
    }),
    to.input.opset,
    node.domain === '' ? {} : { [node.domain]: 1 },
  );
  const session = await openSession(alone, { threads: 1 });
  const y = (await session.run({ x: tensor('float32', [reals.length], reals) })).get('y');
  await session.release();
  return y === undefined ? new Float32Array(0) : toFloat32(y);
}
