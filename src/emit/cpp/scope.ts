/** What writing one operation in C++ needs, and the pieces that most operations share. */
import { required } from '../../core/index.js';
import { parseFormat } from '../../formats/index.js';
import { stridesOf } from '../../tensor/index.js';
import {
  accumulatorRanges,
  hull,
  integerRange,
  resultWord,
  signedBits,
  type ArithmeticOp,
  type CodeConstant,
  type CodeValue,
  type IntegerProgram,
  type Range,
} from '../integer/index.js';
import { type KernelName } from './kernels.js';
import { constantArray, int64 } from './literals.js';
import { type IntegerType, type TypeSystem } from './types.js';

/** Collects constants and kernels while operations are written. */
export class CppScope {
  readonly program: IntegerProgram;
  readonly identifier: (name: string) => string;
  /** Constant arrays at namespace scope. */
  readonly constants: string[] = [];
  readonly kernels = new Set<KernelName>();
  readonly types: TypeSystem;
  readonly #dims: ReadonlyMap<string, readonly number[]>;
  readonly #written = new Map<string, string>();

  constructor(
    program: IntegerProgram,
    dims: ReadonlyMap<string, readonly number[]>,
    identifier: (name: string) => string,
    types: TypeSystem,
  ) {
    this.program = program;
    this.types = types;
    this.#dims = dims;
    this.identifier = identifier;
  }

  value(name: string): CodeValue {
    return required(this.program.values.get(name), name);
  }

  constant(name: string): CodeConstant | undefined {
    return this.program.constants.get(name);
  }

  dims(name: string): readonly number[] {
    return this.constant(name)?.dims ?? required(this.#dims.get(name), name);
  }

  zeroPoint(name: string): number {
    return this.program.values.get(name)?.zeroPoint ?? 0;
  }

  /** Element type of a value. */
  type(name: string): string {
    return this.types.code(this.value(name)).text;
  }

  use(kernel: KernelName): void {
    this.kernels.add(kernel);
  }

  /** Adds a constant array under a name of its own; the identifier. */
  array(name: string, type: string, values: ArrayLike<number>): string {
    const known = this.#written.get(name);
    if (known !== undefined) return known;
    const identifier = this.identifier(name);
    this.constants.push(constantArray(`${this.types.constant} ${type}`, identifier, values));
    this.#written.set(name, identifier);
    return identifier;
  }

  /** A constant array of the narrowest type; the identifier. */
  numbers(name: string, values: ArrayLike<number>): string {
    return this.array(name, this.types.constants(rangeOf(values)).text, values);
  }

  /** The identifier an operand is read by. */
  operand(name: string): string {
    const constant = this.constant(name);
    return constant === undefined ? this.identifier(name) : this.numbers(name, constant.codes);
  }

  /** Bias array and its element type; without one nullptr, of any type. */
  bias(name: string | undefined, op: ArithmeticOp): { readonly type: string; readonly array: string } {
    if (name === undefined) return { type: this.sum(op).text, array: 'nullptr' };
    const { codes } = required(this.constant(name), name);
    return { type: this.types.constants(rangeOf(codes)).text, array: this.numbers(name, codes) };
  }

  /** Type of an operation's sum. */
  sum(op: ArithmeticOp): IntegerType {
    return this.types.sum(this.#sumRange(op));
  }

  /** Type of an operand of an operation, zero point subtracted. */
  factor(name: string, op: ArithmeticOp): string {
    return this.types.operand(integerRange(this.program, name), this.sum(op)).text;
  }

  /** `Wide, Rounding, Overflow` of an operation, as template arguments. */
  modes(op: ArithmeticOp): string {
    this.use('rescale');
    const wide = this.types.wide(this.#rescaleBits(op)).text;
    return `${wide}, Rounding::${op.rescale.rounding}, Overflow::${op.rescale.overflow}`;
  }

  #sumRange(op: ArithmeticOp): Range {
    return accumulatorRanges(op, (name) => integerRange(this.program, name), this.program.constants).reduce(
      hull,
    );
  }

  /** Bits for the product with the multiplier, half a unit of any shift, and the word of the result. */
  #rescaleBits(op: ArithmeticOp): number {
    const { multiplier, shift } = op.rescale;
    const { word } = resultWord(parseFormat(this.value(op.output).format));
    const most = multiplier.reduce((a, b) => Math.max(a, b), 1);
    const product = signedBits(this.#sumRange(op)) + signedBits({ low: 0, high: most });
    return Math.min(64, Math.max(product, shift.reduce((a, b) => Math.max(a, b), 0) + 2, word.bits + 3));
  }

  /** The Rescale of an operation: a constant beside the arrays it points to. */
  rescale(op: ArithmeticOp): string {
    const { multiplier, shift, limits } = op.rescale;
    const { zeroPoint, format } = this.value(op.output);
    const { word } = resultWord(parseFormat(format));
    const type = this.types.constants(rangeOf(multiplier)).text;
    const m = this.array(`${op.output} multiplier`, type, multiplier);
    const n = this.array(`${op.output} shift`, 'std::uint8_t', shift);
    const name = this.identifier(`${op.output} rescale`);
    // No rescaled sum is beyond these.
    const most = 2 ** (this.types.wide(this.#rescaleBits(op)).bits - 2);
    const limit = (value: number): string => int64(BigInt(Math.max(Math.min(value, most), -most)));
    this.constants.push(
      `${this.types.constant} Rescale<${type}> ${name} = {${m}, ${n}, ${limit(limits.low)}, ` +
        `${limit(limits.high)}, ${zeroPoint}, {${word.bits}, ${word.signed}, ${word.low}, ${word.high}}};\n`,
    );
    return name;
  }

  /** A View of a tensor as broadcast to a shape. */
  broadcast(name: string, target: readonly number[]): string {
    const dims = this.dims(name);
    const own = stridesOf(dims);
    const lead = target.length - dims.length;
    const strides = target.map((_, axis) => ((dims[axis - lead] ?? 1) === 1 ? 0 : (own[axis - lead] ?? 0)));
    return this.view(target, strides, 0);
  }

  /** A View literal; a scalar gets one axis of extent 1. */
  view(dims: readonly number[], strides: readonly number[], offset: number): string {
    this.use('strided');
    const extents = dims.length === 0 ? [1] : dims;
    const steps = dims.length === 0 ? [0] : strides;
    return `View<${extents.length}>{{${extents.join(', ')}}, {${steps.join(', ')}}, ${offset}}`;
  }
}

function rangeOf(values: ArrayLike<number>): Range {
  let low = 0;
  let high = 0;
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i] as number);
    high = Math.max(high, values[i] as number);
  }
  return { low, high };
}
