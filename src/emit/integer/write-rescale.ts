/** Rescaling in standard operators: multiply, round and shift, limit, overflow. */
import { parseFormat, type Overflow, type Rounding, type Word } from '../../formats/index.js';
import { type Range } from './accumulator.js';
import { OnnxWriter, SHIFT_LIMIT, storageType, type Wide } from './onnx-writer.js';
import { type CodeValue, type Rescale } from './program.js';
import { resultWord } from './rescale.js';

/** An accumulator in the graph. */
export interface WrittenSum {
  readonly name: string;
  readonly dtype: Wide;
  readonly range: Range;
  readonly rank: number;
  /** The value before its last rounding, rounded down, where that is not the sum itself. */
  readonly floor?: string;
}

/** Codes of a result, cast to their storage type, under the given name. */
export function writeRescale(
  to: OnnxWriter,
  sum: WrittenSum,
  rescale: Rescale,
  result: CodeValue,
  output: string,
): void {
  const { word } = resultWord(parseFormat(result.format));
  const scaled = normalizeShifts(rescale);
  const dtype = widthFor(sum.range, scaled);
  const shape = channelShape(scaled, sum.rank);
  const wide = sum.dtype === dtype ? sum.name : to.cast(sum.name, dtype);
  const product = scaled.multiplier.every((m) => m === 1)
    ? wide
    : to.call('Mul', [wide, to.constant('multiplier', dtype, shape, scaled.multiplier)], `${output}_product`);
  const { floor, rounded } = round(to, product, dtype, scaled, shape, sum.floor);
  const { limits } = rescale;
  const isLimited = Number.isFinite(limits.low) || Number.isFinite(limits.high);
  const code = overflow(to, {
    ...{ rounded, floor, dtype, word, limits, isLimited },
    mode: rescale.overflow,
    zeroPoint: result.zeroPoint,
  });
  to.write('Cast', [code], output, { to: castTarget(result) });
}

function castTarget(result: CodeValue): number {
  const codes = { int8: 3, uint8: 2, int16: 5, uint16: 4, int32: 6 } as const;
  return codes[storageType(result) as keyof typeof codes];
}

/** Shifts of 0 beside others become shifts by 1 of the doubled product, so that all channels round alike. */
function normalizeShifts({ multiplier, shift, axis, rounding }: Rescale): Rescale {
  const mixed = shift.some((n) => n === 0) && shift.some((n) => n > 0);
  return {
    multiplier: mixed ? multiplier.map((m, c) => (shift[c] === 0 ? 2 * m : m)) : multiplier,
    shift: mixed ? shift.map((n) => Math.max(n, 1)) : shift,
    axis,
    rounding,
    overflow: 'AP_SAT',
    limits: { low: -Infinity, high: Infinity },
  };
}

/** int32 when products, rounding constants and shifts fit it. */
function widthFor(range: Range, { multiplier, shift }: Rescale): Wide {
  const largest = Math.max(-range.low, range.high) * Math.max(...multiplier);
  const half = 2 ** Math.max(...shift);
  return largest + half < SHIFT_LIMIT.int32 ? 'int32' : 'int64';
}

function channelShape({ multiplier, axis }: Rescale, rank: number): number[] {
  if (multiplier.length === 1) return [];
  return Array.from({ length: rank - axis }, (_, i) => (i === 0 ? multiplier.length : 1));
}

interface Rounded {
  readonly rounded: string;
  /** The value rounded down, for the overflow mode that looks at it. */
  readonly floor: () => string;
}

/** product / 2^shift by a rounding mode: always a floor after adding something. */
function round(
  to: OnnxWriter,
  product: string,
  dtype: Wide,
  { shift, rounding }: Rescale,
  dims: readonly number[],
  before = product,
): Rounded {
  if (shift.every((n) => n === 0)) return { rounded: product, floor: () => before };
  const floor = (x: string, addend: (n: number) => bigint): string =>
    to.shift(x, dtype, { shift, addend: shift.map(addend), dims });
  const none = (): bigint => 0n;
  const half = (n: number): bigint => 1n << BigInt(n - 1);
  const belowHalf = (n: number): bigint => half(n) - 1n;
  const sign = (): string => to.call('Less', [product, to.scalar(dtype, 0)], `${product}_negative`);
  /** 1 for negative values. */
  const negative = (): string =>
    to.call('Cast', [sign()], `${product}_sign`, { to: dtype === 'int32' ? 6 : 7 });
  const plain = (): string => floor(product, none);
  const rules: Readonly<Record<Rounding, () => string>> = {
    AP_TRN: plain,
    AP_RND: () => floor(product, half),
    AP_RND_MIN_INF: () => floor(product, belowHalf),
    AP_RND_ZERO: () => floor(to.call('Add', [product, negative()], `${product}_tie`), belowHalf),
    AP_RND_INF: () => floor(to.call('Sub', [product, negative()], `${product}_tie`), half),
    AP_RND_CONV: () => {
      const odd = to.lowBits(plain(), 1, dtype);
      return floor(to.call('Add', [product, odd], `${product}_tie`), belowHalf);
    },
    AP_TRN_ZERO: () => {
      const almost = to.constant(
        'remainder',
        dtype,
        dims,
        shift.map((n) => 2n ** BigInt(n) - 1n),
      );
      const lift = to.call('Mul', [negative(), almost], `${product}_lift`);
      return floor(to.call('Add', [product, lift], `${product}_toward_zero`), none);
    },
  };
  return { rounded: rules[rounding](), floor: plain };
}

interface OverflowRequest extends Rounded {
  readonly dtype: Wide;
  readonly word: Word;
  readonly limits: { readonly low: number; readonly high: number };
  readonly isLimited: boolean;
  readonly mode: Overflow;
  readonly zeroPoint: number;
}

/** Limits of a fused activation, then the word of the result. Zero points go with saturation only. */
function overflow(to: OnnxWriter, request: OverflowRequest): string {
  const { rounded, dtype, word, limits, isLimited, mode, zeroPoint } = request;
  if (mode === 'AP_SAT' || mode === 'AP_SAT_SYM') {
    const low = Math.max(word.low - zeroPoint, Math.min(limits.low, word.high - zeroPoint));
    const high = Math.min(word.high - zeroPoint, Math.max(limits.high, word.low - zeroPoint));
    return to.add(to.clip(rounded, low, high, dtype), zeroPoint, dtype);
  }
  const bound = SHIFT_LIMIT[dtype] / 4;
  const limited = isLimited
    ? to.clip(rounded, Math.max(limits.low, -bound), Math.min(limits.high, bound), dtype)
    : rounded;
  switch (mode) {
    case 'AP_WRAP':
      return wrap(to, limited, word, dtype);
    case 'AP_SAT_ZERO': {
      const inside = to.clip(limited, word.low, word.high, dtype);
      const same = to.call('Equal', [inside, limited], `${rounded}_fits`);
      return to.call('Where', [same, limited, to.scalar(dtype, 0)], `${rounded}_zeroed`);
    }
    case 'AP_WRAP_SM': {
      const before = isLimited
        ? to.call(
            'Where',
            [to.call('Equal', [limited, rounded], `${rounded}_inside`), request.floor(), limited],
            `${rounded}_before`,
          )
        : request.floor();
      return wrapSignMagnitude(to, limited, before, word, dtype);
    }
  }
}

/** Low bits, read as the word does: ((x − low) mod 2^W) + low. */
function wrap(to: OnnxWriter, x: string, word: Word, dtype: Wide): string {
  const low = word.signed ? -(2 ** (word.bits - 1)) : 0;
  return to.add(to.lowBits(to.add(x, -low, dtype), word.bits, dtype), low, dtype);
}

/** Inverts the kept bits where the lowest dropped one differs from the sign. */
function wrapSignMagnitude(to: OnnxWriter, x: string, before: string, word: Word, dtype: Wide): string {
  const kept = wrap(to, x, word, dtype);
  const upper = to.shift(before, dtype, { shift: [word.bits], addend: [0n], dims: [] });
  const dropped = to.call('Equal', [to.lowBits(upper, 1, dtype), to.scalar(dtype, 1)], `${x}_dropped`);
  const negative = to.call('Less', [kept, to.scalar(dtype, 0)], `${x}_sign`);
  const differ = to.call('Xor', [dropped, negative], `${x}_differ`);
  const inverted = to.call('Sub', [to.scalar(dtype, -1), kept], `${x}_inverted`);
  const wrapped = to.call('Where', [differ, inverted, kept], `${x}_wrapped`);
  // Inside the word nothing was dropped.
  const inside = to.call('Equal', [to.clip(x, word.low, word.high, dtype), x], `${x}_inside`);
  return to.call('Where', [inside, x, wrapped], `${x}_code`);
}
