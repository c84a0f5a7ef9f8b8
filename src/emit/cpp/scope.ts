/** What writing one operation in C++ needs, and the pieces that most operations share. */
import { required } from '../../core/index.js';
import { parseFormat } from '../../formats/index.js';
import { stridesOf } from '../../tensor/index.js';
import {
  accumulatorRanges,
  hull,
  integerRange,
  resultWord,
  storageType,
  type ArithmeticOp,
  type CodeConstant,
  type CodeValue,
  type IntegerProgram,
} from '../integer/index.js';
import { type KernelName } from './kernels.js';
import { cType, constantArray, int64, narrowest } from './literals.js';

/** Collects constants and kernels while operations are written. */
export class CppScope {
  readonly program: IntegerProgram;
  readonly identifier: (name: string) => string;
  /** Constant arrays at namespace scope. */
  readonly constants: string[] = [];
  readonly kernels = new Set<KernelName>();
  readonly #dims: ReadonlyMap<string, readonly number[]>;
  readonly #written = new Map<string, string>();

  constructor(
    program: IntegerProgram,
    dims: ReadonlyMap<string, readonly number[]>,
    identifier: (name: string) => string,
  ) {
    this.program = program;
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
    return cType(storageType(this.value(name)));
  }

  use(kernel: KernelName): void {
    this.kernels.add(kernel);
  }

  /** Adds a constant array under a name of its own; the identifier. */
  array(name: string, type: string, values: ArrayLike<number>): string {
    const known = this.#written.get(name);
    if (known !== undefined) return known;
    const identifier = this.identifier(name);
    this.constants.push(constantArray(type, identifier, values));
    this.#written.set(name, identifier);
    return identifier;
  }

  /** The identifier an operand is read by; constants become arrays of their narrowest type. */
  operand(name: string): string {
    const constant = this.constant(name);
    return constant === undefined
      ? this.identifier(name)
      : this.array(name, cType(narrowest(constant.codes)), constant.codes);
  }

  /** A constant of one int32 an entry, or nullptr. */
  bias(name: string | undefined): string {
    if (name === undefined) return 'nullptr';
    return this.array(name, 'std::int32_t', required(this.constant(name), name).codes);
  }

  /** `Acc, Rounding, Overflow` of an operation, as template arguments. */
  modes(op: ArithmeticOp): string {
    this.use('rescale');
    return `${this.accumulator(op)}, Rounding::${op.rescale.rounding}, Overflow::${op.rescale.overflow}`;
  }

  /** int32 when every sum the operation can form fits it. */
  accumulator(op: ArithmeticOp): string {
    const range = accumulatorRanges(
      op,
      (name) => integerRange(this.program, name),
      this.program.constants,
    ).reduce(hull);
    return range.low >= -(2 ** 31) && range.high < 2 ** 31 ? 'std::int32_t' : 'std::int64_t';
  }

  /** The Rescale of an operation: a constant beside the arrays it points to. */
  rescale(op: ArithmeticOp): string {
    const { multiplier, shift, limits } = op.rescale;
    const { zeroPoint, format } = this.value(op.output);
    const { word } = resultWord(parseFormat(format));
    const m = this.array(`${op.output} multiplier`, 'std::int32_t', multiplier);
    const n = this.array(`${op.output} shift`, 'std::uint8_t', shift);
    const name = this.identifier(`${op.output} rescale`);
    const limit = (value: number): string => int64(BigInt(Math.max(Math.min(value, 2 ** 62), -(2 ** 62))));
    this.constants.push(
      `constexpr Rescale ${name} = {${m}, ${n}, ${limit(limits.low)}, ${limit(limits.high)}, ${zeroPoint}, ` +
        `{${word.bits}, ${word.signed}, ${word.low}, ${word.high}}};\n`,
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
