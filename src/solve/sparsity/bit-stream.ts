/** Unsigned integers of any width up to 16 bits, one after the other, least significant bit first. */

/** Packs the low `bits` bits of each value; the last byte is padded with zeros. */
export function packBits(values: ArrayLike<number>, bits: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((values.length * bits) / 8));
  for (let i = 0, at = 0; i < values.length; i++)
    for (let b = 0; b < bits; b++, at++)
      if (((values[i] as number) >> b) & 1) bytes[at >> 3] = (bytes[at >> 3] as number) | (1 << (at & 7));
  return bytes;
}

/** The inverse of {@link packBits}; sign-extends when `signed`. */
export function unpackBits(bytes: Uint8Array, bits: number, count: number, signed: boolean): Int32Array {
  const values = new Int32Array(count);
  for (let i = 0, at = 0; i < count; i++) {
    let value = 0;
    for (let b = 0; b < bits; b++, at++) value |= (((bytes[at >> 3] as number) >> (at & 7)) & 1) << b;
    values[i] = signed && value >> (bits - 1) ? value - (1 << bits) : value;
  }
  return values;
}
