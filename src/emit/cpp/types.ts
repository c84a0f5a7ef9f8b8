/** What integers are declared as: types of the standard library, or words of their real width for synthesis. */
import { parseFormat } from '../../formats/index.js';
import { resultWord, signedBits, storageType, type CodeValue, type Range } from '../integer/index.js';
import { cType } from './literals.js';

/** Each choice and what it is, for messages and help. */
export const CPP_TYPES = {
  'fixed-width': 'std::int8_t and its kind, for any compiler',
  ap_fixed: 'ap_int and ap_fixed of the real width of every tensor, weight and sum, for high-level synthesis',
} as const;

export type CppTypes = keyof typeof CPP_TYPES;

export interface IntegerType {
  readonly text: string;
  /** Bits that an array of them takes for each element. */
  readonly bits: number;
}

/** Types for everything that a generated source declares. */
export interface TypeSystem {
  readonly includes: readonly string[];
  /** Whether types have the very width of what they hold. */
  readonly isArbitrary: boolean;
  /** Keyword of constants; the vendor's classes are no literal types. */
  readonly constant: 'constexpr' | 'const';
  /** C++ text of exact differences and products, which differ in what widens them. */
  readonly arithmetic: string;
  /** Codes of a value. */
  code(value: Pick<CodeValue, 'format'>): IntegerType;
  /** Elements of a constant array. */
  constants(range: Range): IntegerType;
  /** A sum with a proven range. */
  sum(range: Range): IntegerType;
  /** An operand of a product whose sum has a type. */
  operand(range: Range, sum: IntegerType): IntegerType;
  /** Signed integers of that many bits, at most 64. */
  wide(bits: number): IntegerType;
}

const standard = (bits: number): IntegerType => ({ text: `std::int${bits}_t`, bits });

const FIXED_WIDTH: TypeSystem = {
  includes: [],
  isArbitrary: false,
  constant: 'constexpr',
  arithmetic: `
template <typename T, typename X>
constexpr T difference(X x, std::int32_t zero_point) { return static_cast<T>(static_cast<T>(x) - zero_point); }

template <typename T, typename A, typename B>
constexpr T product(A a, B b) { return static_cast<T>(static_cast<T>(a) * static_cast<T>(b)); }
`,
  code(value) {
    const dtype = storageType(value);
    return { text: cType(dtype), bits: Number(dtype.replace(/\D/g, '')) };
  },
  constants: (range) => standard([8, 16].find((bits) => signedBits(range) <= bits) ?? 32),
  sum: (range) => standard(signedBits(range) <= 32 ? 32 : 64),
  operand: (_range, sum) => sum,
  wide: () => standard(64),
};

/** `ap_int` holds negative integers too, `ap_uint` saves the sign. */
function arbitrary(range: Range): IntegerType {
  if (range.low < 0) return { text: `ap_int<${signedBits(range)}>`, bits: signedBits(range) };
  const bits = Math.max(signedBits(range) - 1, 1);
  return { text: `ap_uint<${bits}>`, bits };
}

const ARBITRARY: TypeSystem = {
  includes: ['ap_int.h', 'ap_fixed.h'],
  isArbitrary: true,
  constant: 'const',
  arithmetic: `
// Results of operators on ap_int are as wide as they need; what is assigned keeps to the proven range.
template <typename T, typename X>
T difference(const X& x, std::int32_t zero_point) { return static_cast<T>(x - zero_point); }

template <typename T, typename A, typename B>
T product(const A& a, const B& b) { return static_cast<T>(a * b); }
`,
  code({ format }) {
    const { word } = resultWord(parseFormat(format));
    return { text: `${word.signed ? 'ap_int' : 'ap_uint'}<${word.bits}>`, bits: word.bits };
  },
  constants: arbitrary,
  sum: arbitrary,
  operand: arbitrary,
  wide: (bits) => ({ text: `ap_int<${bits}>`, bits }),
};

export const TYPE_SYSTEMS: Readonly<Record<CppTypes, TypeSystem>> = {
  'fixed-width': FIXED_WIDTH,
  ap_fixed: ARBITRARY,
};
