/** Where the codes of every value live: one static array a type, places reused when their value is no longer read. */
import { required } from '../../core/index.js';
import { sizeOf, type DType } from '../../tensor/index.js';
import { operandsOf, storageType, type IntegerProgram } from '../integer/index.js';

/** A place in the array of its type. */
export interface Place {
  readonly dtype: DType;
  readonly offset: number;
  readonly size: number;
}

export interface Buffers {
  readonly places: ReadonlyMap<string, Place>;
  /** Elements of each array. */
  readonly sizes: ReadonlyMap<DType, number>;
}

interface Lifetime {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/**
 * Assigns places first-fit in order of definition.
 *
 * @param dims   shape of every value
 * @param fixed  values that live elsewhere (inputs and outputs)
 */
export function allocate(
  program: IntegerProgram,
  dims: ReadonlyMap<string, readonly number[]>,
  fixed: ReadonlySet<string>,
): Buffers {
  const places = new Map<string, Place>();
  const sizes = new Map<DType, number>();
  const live: (Lifetime & Place)[] = [];
  for (const { name, from, to } of lifetimes(program)) {
    if (fixed.has(name)) continue;
    const dtype = storageType(required(program.values.get(name), name));
    const size = sizeOf(required(dims.get(name), name));
    const busy = live
      .filter((other) => other.dtype === dtype && other.to >= from)
      .sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const other of busy) {
      if (offset + size <= other.offset) break;
      offset = Math.max(offset, other.offset + other.size);
    }
    const place = { dtype, offset, size };
    places.set(name, place);
    sizes.set(dtype, Math.max(sizes.get(dtype) ?? 0, offset + size));
    live.push({ name, from, to, ...place });
  }
  return { places, sizes };
}

/** Index of the operation that writes each value, and of the last that reads it. */
function lifetimes(program: IntegerProgram): Lifetime[] {
  const last = new Map<string, number>();
  program.ops.forEach((op, i) => {
    for (const name of operandsOf(op)) last.set(name, i);
  });
  for (const { codes } of program.outputs) last.set(codes, program.ops.length);
  const from = [
    ...program.inputs.map(({ codes }) => ({ name: codes, from: -1 })),
    ...program.ops.map((op, i) => ({ name: op.output, from: i })),
  ];
  return from.map(({ name, from: start }) => ({ name, from: start, to: last.get(name) ?? start }));
}
