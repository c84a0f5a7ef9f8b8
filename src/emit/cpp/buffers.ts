/** Where the codes of every value live: one static array a type, places reused when their value is no longer read. */
import { required } from '../../core/index.js';
import { sizeOf } from '../../tensor/index.js';
import { operandsOf, type CodeValue, type IntegerProgram } from '../integer/index.js';
import { type IntegerType } from './types.js';

/** A place in the array of its type. */
export interface Place {
  readonly type: IntegerType;
  readonly offset: number;
  readonly size: number;
}

export interface Buffers {
  readonly places: ReadonlyMap<string, Place>;
  /** One array a type, by the name of the type. */
  readonly arrays: ReadonlyMap<string, Pick<Place, 'type' | 'size'>>;
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
 * @param typeOf element type of a value
 * @param fixed  values that live elsewhere (inputs and outputs)
 */
export function allocate(
  program: IntegerProgram,
  dims: ReadonlyMap<string, readonly number[]>,
  typeOf: (value: CodeValue) => IntegerType,
  fixed: ReadonlySet<string>,
): Buffers {
  const places = new Map<string, Place>();
  const arrays = new Map<string, Pick<Place, 'type' | 'size'>>();
  const live: (Lifetime & Place)[] = [];
  for (const { name, from, to } of lifetimes(program)) {
    if (fixed.has(name)) continue;
    const type = typeOf(required(program.values.get(name), name));
    const size = sizeOf(required(dims.get(name), name));
    const busy = live
      .filter((other) => other.type.text === type.text && other.to >= from)
      .sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const other of busy) {
      if (offset + size <= other.offset) break;
      offset = Math.max(offset, other.offset + other.size);
    }
    const place = { type, offset, size };
    places.set(name, place);
    arrays.set(type.text, { type, size: Math.max(arrays.get(type.text)?.size ?? 0, offset + size) });
    live.push({ name, from, to, ...place });
  }
  return { places, arrays };
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
