/** The two places where real numbers remain: quantization of inputs, dequantization of outputs. */
import { parseFormat, type FixedFormat, type Rounding } from '../../formats/index.js';
import { dtypeCode, integerRange } from '../../tensor/index.js';
import { type OnnxWriter, storageType } from './onnx-writer.js';
import { type CodeValue, type Rescale } from './program.js';
import { writeRescale } from './write-rescale.js';

/** Codes of a float value. */
export function writeQuantization(to: OnnxWriter, real: string, value: CodeValue, output: string): void {
  const format = parseFormat(value.format);
  const dtype = storageType(value);
  const { rounding, overflow } = format as Partial<FixedFormat>;
  const plain = (rounding ?? 'AP_RND_CONV') === 'AP_RND_CONV' && (overflow ?? 'AP_SAT') === 'AP_SAT';
  if (!plain || !(dtype === 'int8' || dtype === 'uint8')) {
    writeExactQuantization(to, real, value, output);
    return;
  }
  const { low, high } = integerRange(dtype);
  const narrower = format.low > low || format.high < high;
  const limit = (code: number): string =>
    to.scalar('float32', Math.fround((code - value.zeroPoint) * value.scale));
  const clipped = narrower
    ? to.call('Clip', [real, limit(format.low), limit(format.high)], `${real}_clipped`)
    : real;
  to.write(
    'QuantizeLinear',
    [clipped, to.scalar('float32', value.scale), to.scalar(dtype, value.zeroPoint)],
    output,
  );
}

/** Magnitude at which a real value certainly overflows any word; int64 holds it. */
const FAR = 2 ** 45;

/**
 * Any rounding and overflow mode, and words wider than a byte: the quotient rounded to float32, then everything exact
 * in double precision and int64.
 */
function writeExactQuantization(to: OnnxWriter, real: string, value: CodeValue, output: string): void {
  const format = parseFormat(value.format);
  const { rounding = 'AP_RND_CONV', overflow = 'AP_SAT' } = format as Partial<FixedFormat>;
  const quotient = to.call('Div', [real, to.scalar('float32', value.scale)], `${real}_quotient`);
  const far = to.call(
    'Clip',
    [quotient, to.scalar('float32', -FAR), to.scalar('float32', FAR)],
    `${real}_bounded`,
  );
  const v = to.cast(far, 'float64');
  const floor = to.call('Floor', [v], `${real}_floor`);
  const floorInteger = to.cast(floor, 'int64');
  const up = roundsUp(to, v, floor, floorInteger, rounding);
  const rounded =
    up === undefined ? floorInteger : to.call('Add', [floorInteger, to.cast(up, 'int64')], `${real}_rounded`);
  const keep: Rescale = {
    multiplier: [1],
    shift: [0],
    axis: 0,
    rounding,
    overflow,
    limits: { low: -Infinity, high: Infinity },
  };
  const range = { low: -FAR - 1, high: FAR + 1 };
  writeRescale(
    to,
    { name: rounded, dtype: 'int64', range, rank: 0, floor: floorInteger },
    keep,
    value,
    output,
  );
}

/** Whether the integer above the floor is taken; undefined when it never is. */
function roundsUp(
  to: OnnxWriter,
  v: string,
  floor: string,
  floorInteger: string,
  rounding: Rounding,
): string | undefined {
  if (rounding === 'AP_TRN') return undefined;
  const rest = to.call('Sub', [v, floor], `${v}_rest`);
  const is = (opType: string, x: string, limit: number): string =>
    to.call(opType, [x, to.scalar('float64', limit)], `${v}_is`);
  const negative = (): string => is('Less', v, 0);
  const any = (a: string, b: string): string => to.call('Or', [a, b], `${v}_or`);
  const both = (a: string, b: string): string => to.call('And', [a, b], `${v}_and`);
  if (rounding === 'AP_TRN_ZERO') return both(negative(), is('Greater', rest, 0));
  const above = is('Greater', rest, 0.5);
  const tie = (): string => is('Equal', rest, 0.5);
  switch (rounding) {
    case 'AP_RND':
      return any(above, tie());
    case 'AP_RND_MIN_INF':
      return above;
    case 'AP_RND_ZERO':
      return any(above, both(tie(), negative()));
    case 'AP_RND_INF':
      return any(above, both(tie(), is('Greater', v, 0)));
    case 'AP_RND_CONV': {
      const odd = to.call('Equal', [to.lowBits(floorInteger, 1, 'int64'), to.scalar('int64', 1)], `${v}_odd`);
      return any(above, both(tie(), odd));
    }
  }
}

/** Real values of codes: an integer difference, then one float32 product, as DequantizeLinear computes it. */
export function writeDequantization(to: OnnxWriter, codes: string, value: CodeValue, output: string): void {
  const dtype = storageType(value);
  const scale = to.scalar('float32', value.scale);
  if (dtype === 'int8' || dtype === 'uint8') {
    to.write('DequantizeLinear', [codes, scale, to.scalar(dtype, value.zeroPoint)], output);
    return;
  }
  const integers = to.add(
    to.call('Cast', [codes], `${codes}_wide`, { to: dtypeCode('int32') }),
    -value.zeroPoint,
    'int32',
  );
  to.write('DequantizeLinear', [integers, scale], output);
}
