/** Element-wise operators: arithmetic, functions, comparisons, with ONNX broadcasting. */
import { float } from '../../onnx/index.js';
import { dtypeCode, type DType } from '../../tensor/index.js';
import { type Tape } from '../tape.js';
import { broadcastDims, type Operand, type Value } from '../value.js';

/** The element-wise operators of a program. Numbers may stand for scalars. */
export function elementwiseOps(t: Tape) {
  const unary =
    (opType: string) =>
    (x: Value): Value =>
      t.op(opType, [x], x);

  const operands = (values: readonly Operand[]): Value[] => {
    const dtype = values.find((v) => typeof v !== 'number')?.dtype ?? 'float32';
    return values.map((v) => t.operand(v, dtype));
  };

  const binary =
    (opType: string, result?: DType) =>
    (a: Operand, b: Operand): Value => {
      const [x, y] = operands([a, b]) as [Value, Value];
      return t.op(opType, [x, y], { dtype: result ?? x.dtype, dims: broadcastDims([x, y], opType) });
    };

  const add = binary('Add');

  return {
    add,
    sub: binary('Sub'),
    mul: binary('Mul'),
    div: binary('Div'),
    pow: binary('Pow'),
    min: binary('Min'),
    max: binary('Max'),
    /** Sum of one or more values. */
    sum: (values: readonly [Value, ...Value[]]): Value => values.reduce((a, b) => add(a, b)),
    /** Remainder of integers, with the sign of the divisor. */
    mod: binary('Mod'),

    neg: unary('Neg'),
    abs: unary('Abs'),
    sign: unary('Sign'),
    floor: unary('Floor'),
    ceil: unary('Ceil'),
    /** Nearest integer, ties to even; its derivative is zero (see `roundStraightThrough`). */
    round: unary('Round'),
    exp: unary('Exp'),
    log: unary('Log'),
    sqrt: unary('Sqrt'),
    reciprocal: unary('Reciprocal'),
    sin: unary('Sin'),
    cos: unary('Cos'),
    tanh: unary('Tanh'),
    erf: unary('Erf'),
    sigmoid: unary('Sigmoid'),
    softplus: unary('Softplus'),
    relu: unary('Relu'),
    leakyRelu: (x: Value, alpha = 0.01): Value => t.op('LeakyRelu', [x], x, { alpha: float(alpha) }),
    hardSigmoid: (x: Value, alpha = 0.2, beta = 0.5): Value =>
      t.op('HardSigmoid', [x], x, { alpha: float(alpha), beta: float(beta) }),
    hardSwish: unary('HardSwish'),
    gelu: (x: Value, approximate: 'none' | 'tanh' = 'none'): Value => t.op('Gelu', [x], x, { approximate }),
    square: (x: Value): Value => t.op('Mul', [x, x], x),
    identity: unary('Identity'),

    /** x limited to [low, high]; either bound may be left out. */
    clip: (x: Value, low?: Operand, high?: Operand): Value =>
      t.op(
        'Clip',
        [
          x,
          low === undefined ? low : t.operand(low, x.dtype),
          high === undefined ? high : t.operand(high, x.dtype),
        ],
        x,
      ),
    cast: (x: Value, to: DType): Value => castTo(t, x, to),

    equal: binary('Equal', 'bool'),
    greater: binary('Greater', 'bool'),
    greaterOrEqual: binary('GreaterOrEqual', 'bool'),
    less: binary('Less', 'bool'),
    lessOrEqual: binary('LessOrEqual', 'bool'),
    and: binary('And', 'bool'),
    or: binary('Or', 'bool'),
    not: unary('Not'),
    isNaN: (x: Value): Value => t.op('IsNaN', [x], { dtype: 'bool', dims: x.dims }),
    /** `a` where the condition holds, `b` elsewhere. */
    where: (condition: Value, a: Operand, b: Operand): Value => {
      const [x, y] = operands([a, b]) as [Value, Value];
      return t.op('Where', [condition, x, y], {
        dtype: x.dtype,
        dims: broadcastDims([condition, x, y], 'Where'),
      });
    },
    /** x where the condition holds, zero elsewhere. */
    maskedBy: (x: Value, condition: Value): Value =>
      t.op('Where', [condition, x, t.scalar(0, x.dtype)], {
        dtype: x.dtype,
        dims: broadcastDims([condition, x], 'Where'),
      }),

    bitXor: binary('BitwiseXor'),
    bitAnd: binary('BitwiseAnd'),
    shiftRight: (a: Operand, b: Operand): Value => {
      const [x, y] = operands([a, b]) as [Value, Value];
      return t.op(
        'BitShift',
        [x, y],
        { dtype: x.dtype, dims: broadcastDims([x, y], 'BitShift') },
        { direction: 'RIGHT' },
      );
    },
  };
}

function castTo(t: Tape, x: Value, to: DType): Value {
  return x.dtype === to ? x : t.op('Cast', [x], { dtype: to, dims: x.dims }, { to: dtypeCode(to) });
}
