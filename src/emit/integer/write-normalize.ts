/** Softmax and LayerNormalization in standard integer operators. */
import { required } from '../../core/index.js';
import { parseFormat } from '../../formats/index.js';
import { storageType } from './onnx-writer.js';
import { type LayerNorm, type Softmax } from './program.js';
import { resultWord } from './rescale.js';
import { dtypeCode } from '../../tensor/index.js';
import { writeIntegers, type WriteScope, type Written } from './write-linear.js';

export function writeSoftmax(scope: WriteScope, op: Softmax, output: string): void {
  const { to, program } = scope;
  const result = required(program.values.get(op.output), op.output);
  const { word } = resultWord(parseFormat(result.format));
  const x = to.cast(scope.codes(op.x), 'int32');
  const axes = to.constant('axes', 'int64', [1], [op.axis]);
  const top = writeMaximum(scope, x, op.axis);
  const distance = to.call('Sub', [top, x], `${x}_distance`);
  const index = to.call('Min', [distance, to.scalar('int32', op.exponentials.length - 1)], `${x}_index`);
  const table = to.constant(`${op.node}_exponentials`, 'int32', [op.exponentials.length], op.exponentials);
  const exponential = to.call('Gather', [table, index], `${x}_exponential`, { axis: 0 });
  const total = to.call('ReduceSum', [exponential, axes], `${x}_total`, { keepdims: 1 });
  const divisor = to.call(
    'Mul',
    [to.cast(total, 'int64'), to.scalar('int64', 2 ** op.shift)],
    `${x}_divisor`,
  );
  const half = to.call('Div', [divisor, to.scalar('int64', 2)], `${x}_half`);
  const scaled = to.call(
    'Mul',
    [to.cast(exponential, 'int64'), to.scalar('int64', op.multiplier)],
    `${x}_scaled`,
  );
  const share = to.call('Div', [to.call('Add', [scaled, half], `${x}_rounded`), divisor], `${x}_share`);
  const code = to.add(share, result.zeroPoint, 'int64');
  const clipped = to.call('Min', [code, to.scalar('int64', word.high)], `${x}_code`);
  to.write('Cast', [clipped], output, { to: dtypeCode(storageType(result)) });
}

/** From this opset on, ReduceMax takes its axes as an input. */
const AXES_INPUT_OPSET = 18;

function writeMaximum({ to }: WriteScope, x: string, axis: number): string {
  if (to.opset < AXES_INPUT_OPSET)
    return to.call('ReduceMax', [x], `${x}_top`, { axes: [axis], keepdims: 1 });
  return to.call('ReduceMax', [x, to.constant('axes', 'int64', [1], [axis])], `${x}_top`, { keepdims: 1 });
}

/** Newton steps from a power of two at most twice the root: the error falls 1, 1/4, 1/40, 3e-4, 5e-8, 1e-15. */
const NEWTON_STEPS = 6;

/** Squares stay below 2^62. */
const LARGEST_SQUARE_BITS = 62;

export function writeLayerNorm(scope: WriteScope, op: LayerNorm): Written {
  const { to, program } = scope;
  const x = writeIntegers(scope, op.x, 'int64');
  const last = to.constant('axes', 'int64', [1], [-1]);
  const total = to.call('ReduceSum', [x, last], `${x}_total`, { keepdims: 1 });
  const scaled = to.call('Mul', [x, to.scalar('int64', op.size)], `${x}_scaled`);
  const centred = to.call('Sub', [scaled, total], `${x}_centred`);
  const squares = to.call('Mul', [centred, centred], `${x}_squares`);
  const sum = to.call('ReduceSum', [squares, last], `${x}_square_sum`, { keepdims: 1 });
  const spread = to.add(sum, op.epsilon, 'int64');
  const raised = to.call('Mul', [spread, to.scalar('int64', 4 ** op.rootShift)], `${x}_raised`);
  const root = writeSquareRoot(scope, raised);
  const t = writeRoundedQuotient(scope, op, centred, root);
  const constant = (name: string): string => {
    const { codes, dims } = required(program.constants.get(name), name);
    return to.constant(name, 'int64', dims, codes);
  };
  const weighted = to.call('Mul', [t, constant(op.gamma)], `${x}_weighted`);
  return { name: to.call('Add', [weighted, constant(op.beta)], `${x}_shifted`), dtype: 'int64' };
}

/** ⌊√x⌋ for x of the shape […, 1], 1 ≤ x < 2^62. */
function writeSquareRoot({ to }: WriteScope, x: string): string {
  const powers = Array.from({ length: LARGEST_SQUARE_BITS + 1 }, (_, k) => 1n << BigInt(k));
  const reached = to.call(
    'GreaterOrEqual',
    [x, to.constant('powers_of_two', 'int64', [powers.length], powers)],
    `${x}_reached`,
  );
  const last = to.constant('axes', 'int64', [1], [-1]);
  // The number of powers 2^0 … 2^k that x reaches is its bit length b; 2^⌈b/2⌉ is at least the root.
  const bits = to.call('ReduceSum', [to.cast(reached, 'int32'), last], `${x}_bits`, { keepdims: 1 });
  const starts = powers.map((_, b) => 1n << BigInt(Math.ceil(b / 2)));
  let root = to.call(
    'Gather',
    [to.constant('root_starts', 'int64', [starts.length], starts), bits],
    `${x}_start`,
    { axis: 0 },
  );
  for (let step = 0; step < NEWTON_STEPS; step++) {
    const quotient = to.call('Div', [x, root], `${x}_quotient`);
    const twice = to.call('Add', [root, quotient], `${x}_twice`);
    const next = to.call('Div', [twice, to.scalar('int64', 2)], `${x}_next`);
    root = to.call('Min', [root, next], `${x}_root`);
  }
  return root;
}

/** ⌊(e · unit + ⌊root/2⌋) / root⌋; Div truncates, so a multiple of the root that makes it positive is added first. */
function writeRoundedQuotient({ to }: WriteScope, op: LayerNorm, e: string, root: string): string {
  const lift = 2 ** (op.fraction + Math.ceil(Math.log2(Math.sqrt(op.size))) + 2);
  const numerator = to.call('Mul', [e, to.scalar('int64', op.unit)], `${e}_numerator`);
  const half = to.call('Div', [root, to.scalar('int64', 2)], `${root}_half`);
  const lifted = to.call('Mul', [root, to.scalar('int64', lift)], `${root}_lifted`);
  const positive = to.call(
    'Add',
    [to.call('Add', [numerator, half], `${e}_rounded`), lifted],
    `${e}_positive`,
  );
  const quotient = to.call('Div', [positive, root], `${e}_quotient`);
  return to.add(quotient, -lift, 'int64');
}
