/** Fixed point `fixW.F`: W bits in two's complement, F of them fractional; value = code · 2^(−F). */
import { integerStorage } from './affine.js';
import { ceilLog2, powerOfTwoScale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';
import { OVERFLOW, ROUNDING, castToWord, wordOf, type Overflow, type Rounding } from './rounding.js';

/** A fixed-point format; the modes are those of `ap_fixed`. */
export interface FixedFormat extends NumberFormat {
  readonly family: 'fixed';
  /** F, any integer; absent while it is still to be chosen (`fix8`). */
  readonly fraction?: number;
  readonly rounding: Rounding;
  readonly overflow: Overflow;
}

/** Unsigned codes stop at 31 bits so that every code fits a signed 32-bit host array. */
const MAX_BITS = { signed: 32, unsigned: 31 } as const;

interface FixedOptions {
  readonly bits: number;
  readonly signed?: boolean;
  readonly fraction?: number | undefined;
  readonly rounding?: Rounding;
  readonly overflow?: Overflow;
}

/** A fixed-point format; by default ties to even and saturation (not the HLS defaults AP_TRN and AP_WRAP). */
export function fixedPoint({
  bits,
  signed = true,
  fraction,
  rounding = 'AP_RND_CONV',
  overflow = 'AP_SAT',
}: FixedOptions): FixedFormat {
  const word = wordOf(bits, signed, overflow);
  const asQuantizeLinear = bits <= 16 && rounding === 'AP_RND_CONV' && overflow.startsWith('AP_SAT');
  const modes = rounding === 'AP_RND_CONV' && overflow === 'AP_SAT' ? '' : `:${rounding}:${overflow}`;
  const point = fraction === undefined ? '' : `.${fraction}`;
  return {
    name: `${signed ? '' : 'u'}fix${bits}${point}${modes}`,
    family: 'fixed',
    bits,
    signed,
    low: word.low,
    high: word.high,
    integer: true,
    uniform: true,
    affine: false,
    scale: 'power-of-two',
    ...integerStorage(bits, signed),
    onnx: asQuantizeLinear && overflow !== 'AP_SAT_ZERO' ? 'qdq' : 'dequantize',
    ...(fraction === undefined ? {} : { fraction }),
    rounding,
    overflow,
    encode: (x) => (Number.isNaN(x) ? 0 : castToWord(x, word, rounding, overflow)),
    decode: (code) => code,
    scaleFor: (absmax) => powerOfTwoScale(-(fraction ?? fractionFor(absmax, bits, signed))),
  };
}

/**
 * F for values up to ±absmax: the smallest integer part that holds them. A maximum of exactly 2^k saturates by one unit
 * on the positive side, as in QFX (arXiv 2401.17544).
 */
export function fractionFor(absmax: number, bits: number, signed = true): number {
  const magnitudeBits = signed ? bits - 1 : bits;
  return absmax === 0 ? magnitudeBits : magnitudeBits - ceilLog2(absmax);
}

/**
 * The format with an unsigned word for values that are never negative: one bit more for the magnitude. Undefined where F
 * is given, because then so is the type, and where there is no unsigned form.
 */
export function unsignedForm(format: NumberFormat): FixedFormat | undefined {
  if (format.family !== 'fixed') return undefined;
  const { bits, signed, fraction, rounding, overflow } = format as FixedFormat;
  if (!signed || fraction !== undefined || bits > MAX_BITS.unsigned || overflow === 'AP_WRAP_SM')
    return undefined;
  return fixedPoint({ bits, signed: false, rounding, overflow });
}

/** `ap_fixed<W, I, Q, O>` of a format whose F is chosen. */
export function apFixedType(format: FixedFormat, fraction: number): string {
  const base = format.signed ? 'ap_fixed' : 'ap_ufixed';
  return `${base}<${format.bits}, ${format.bits - fraction}, ${format.rounding}, ${format.overflow}>`;
}

const NAME = /^(u?)fix(\d+)(?:\.(-?\d+))?(?::(AP_\w+):(AP_\w+))?$/;

export const FIXED: FormatFamily = {
  syntax:
    'fixW, fixW.F, ufixW.F, fixW.F:ROUNDING:OVERFLOW (W = 2…32, F any integer, modes as in ap_fixed: ' +
    `${Object.keys(ROUNDING).join(' ')}; ${Object.keys(OVERFLOW).join(' ')})`,
  members: [
    'fix4',
    'fix6',
    'fix8',
    'ufix8',
    'fix12',
    'fix16',
    'fix8.5',
    'fix24.10',
    'fix8.-2:AP_TRN:AP_WRAP',
  ],
  parse(name) {
    const match = NAME.exec(name);
    if (match === null) return undefined;
    const [, unsigned, width, point, rounding = 'AP_RND_CONV', overflow = 'AP_SAT'] = match;
    const bits = Number(width);
    const signed = unsigned === '';
    if (bits < 2 || bits > (signed ? MAX_BITS.signed : MAX_BITS.unsigned)) return undefined;
    if (!isRounding(rounding) || !isOverflow(overflow)) return undefined;
    if (!signed && overflow === 'AP_WRAP_SM') return undefined;
    const fraction = point === undefined ? undefined : Number(point);
    return fixedPoint({ bits, signed, fraction, rounding, overflow });
  },
};

function isRounding(name: string): name is Rounding {
  return Object.hasOwn(ROUNDING, name);
}

function isOverflow(name: string): name is Overflow {
  return Object.hasOwn(OVERFLOW, name);
}
