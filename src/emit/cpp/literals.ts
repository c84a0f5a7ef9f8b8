/** C++ literals and constant arrays. */
import { type DType } from '../../tensor/index.js';

const WIDTH = 118;

/** The fixed-width type of an integer element type: `std::int8_t`. */
export function cType(dtype: DType): string {
  return `std::${dtype}_t`;
}

/** An integer literal of type std::int64_t. */
export function int64(value: number | bigint): string {
  return `std::int64_t{${BigInt(value)}}`;
}

/** A float literal that reads back as the same number. */
export function floatLiteral(value: number): string {
  const text = String(Math.fround(value));
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}

/** A constant array at namespace scope, of a type with its qualifier. */
export function constantArray(type: string, name: string, values: ArrayLike<number>): string {
  return `${type} ${name}[] = {\n${wrapped(values)}};\n`;
}

/** Numbers in lines of limited width. */
function wrapped(values: ArrayLike<number>): string {
  let text = '';
  let line = '   ';
  for (let i = 0; i < values.length; i++) {
    const item = ` ${values[i]},`;
    if (line.length + item.length > WIDTH) {
      text += `${line}\n`;
      line = '   ';
    }
    line += item;
  }
  return `${text}${line}\n`;
}

/** A call statement. */
export function call(kernel: string, args: readonly (string | number | boolean)[]): string {
  return `${kernel}(${args.join(', ')});`;
}
