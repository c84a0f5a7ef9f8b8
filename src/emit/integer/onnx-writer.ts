/** Building blocks of the integer graph: named nodes, shared constants, exact casts and shifts in standard operators. */
import { node, type AttributeInput, type Node } from '../../onnx/index.js';
import { createArray, dtypeCode, tensor, type DType, type Tensor } from '../../tensor/index.js';
import { parseFormat } from '../../formats/index.js';
import { type FreshName } from '../fragment.js';
import { type CodeValue } from './program.js';

/** Integer types in which sums are formed. */
export type Wide = 'int32' | 'int64';

/** The unsigned type of the same width: BitShift exists only there. */
const UNSIGNED = { int32: 'uint32', int64: 'uint64' } as const;

/** Added before a signed value is shifted as unsigned; values stay below it in magnitude. */
const OFFSET_BITS = { int32: 30, int64: 62 } as const;

/** Magnitudes that {@link OnnxWriter.shift} takes. */
export const SHIFT_LIMIT = { int32: 2 ** OFFSET_BITS.int32, int64: 2 ** OFFSET_BITS.int64 } as const;

/** The stored type of a value's codes: at least 8 bits, because kernels for narrower types are few. */
export function storageType({ format }: Pick<CodeValue, 'format'>): DType {
  const { low, high } = parseFormat(format);
  if (low >= -128 && high <= 127) return 'int8';
  if (low >= 0 && high <= 255) return 'uint8';
  if (low >= -(2 ** 15) && high < 2 ** 15) return 'int16';
  return low >= 0 && high < 2 ** 16 ? 'uint16' : 'int32';
}

/** Collects nodes and initializers. */
export class OnnxWriter {
  readonly nodes: Node[] = [];
  readonly initializers: [string, Tensor][] = [];
  readonly fresh: FreshName;
  readonly opset: number;
  readonly #shared = new Map<string, string>();

  constructor(fresh: FreshName, opset: number) {
    this.fresh = fresh;
    this.opset = opset;
  }

  /** Adds a node with one output; the name of that output. */
  call(
    opType: string,
    inputs: readonly string[],
    base: string,
    attributes: Record<string, AttributeInput> = {},
  ): string {
    const output = this.fresh(base);
    this.write(opType, inputs, output, attributes);
    return output;
  }

  /** Adds a node that writes a given name. */
  write(
    opType: string,
    inputs: readonly string[],
    output: string,
    attributes: Record<string, AttributeInput> = {},
  ): void {
    this.nodes.push(node(opType, inputs, [output], attributes, { name: this.fresh(`${output}_${opType}`) }));
  }

  /** An initializer; equal ones are stored once. */
  constant(
    base: string,
    dtype: DType,
    dims: readonly number[],
    values: ArrayLike<number> | readonly bigint[],
  ): string {
    const data = createArray(dtype, values.length);
    const wide = data instanceof BigInt64Array || data instanceof BigUint64Array;
    for (let i = 0; i < data.length; i++) {
      const value = values[i] as number | bigint;
      data[i] = wide ? BigInt(value) : Number(value);
    }
    const key = values.length > 64 ? undefined : `${dtype}[${dims.join()}]${data.join()}`;
    const known = key === undefined ? undefined : this.#shared.get(key);
    if (known !== undefined) return known;
    const name = this.fresh(base);
    this.initializers.push([name, tensor(dtype, dims, data)]);
    if (key !== undefined) this.#shared.set(key, name);
    return name;
  }

  /** A scalar; named after its value, because it is shared. */
  scalar(dtype: DType, value: number | bigint): string {
    return this.constant(`${dtype}_${String(value).replace('-', 'minus_').replace('.', '_')}`, dtype, [], [
      value,
    ] as readonly number[]);
  }

  cast(x: string, dtype: DType): string {
    return this.call('Cast', [x], `${x}_${dtype}`, { to: dtypeCode(dtype) });
  }

  /** x + value, or x itself for 0. */
  add(x: string, value: number | bigint, dtype: DType): string {
    return Number(value) === 0 ? x : this.call('Add', [x, this.scalar(dtype, value)], `${x}_plus`);
  }

  /**
   * ⌊(x + addend) / 2^shift⌋ for |x + addend| below {@link SHIFT_LIMIT}.
   *
   * @param shift  one, or as many as `dims` says; broadcast
   * @param addend as many as shifts
   */
  shift(
    x: string,
    dtype: Wide,
    { shift, addend, dims }: { shift: readonly number[]; addend: readonly bigint[]; dims: readonly number[] },
  ): string {
    const bits = OFFSET_BITS[dtype];
    const offset = 1n << BigInt(bits);
    const start = this.constant(
      'offset',
      dtype,
      dims,
      addend.map((a) => offset + a),
    );
    const back = this.constant(
      'offset_shifted',
      dtype,
      dims,
      shift.map((n) => 1n << BigInt(bits - n)),
    );
    const by = this.constant('shift', UNSIGNED[dtype], dims, shift);
    const unsigned = this.cast(this.call('Add', [x, start], `${x}_offset`), UNSIGNED[dtype]);
    const shifted = this.call('BitShift', [unsigned, by], `${x}_shifted`, { direction: 'RIGHT' });
    return this.call('Sub', [this.cast(shifted, dtype), back], `${x}_floor`);
  }

  /** x mod 2^bits, non-negative. */
  lowBits(x: string, bits: number, dtype: Wide): string {
    return this.call('Mod', [x, this.scalar(dtype, 2 ** bits)], `${x}_low`);
  }

  clip(x: string, low: number, high: number, dtype: DType): string {
    return this.call('Clip', [x, this.scalar(dtype, low), this.scalar(dtype, high)], `${x}_clipped`);
  }
}
