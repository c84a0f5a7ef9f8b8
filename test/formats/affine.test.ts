/** Integers in bytes: the grid of the narrow type, the storage of the wide one. */
import { describe, expect, it } from 'vitest';
import { parseFormat } from '../../src/formats/index.js';

describe('integers stored in bytes', () => {
  it.each(['int4', 'uint4', 'int3', 'int2', 'int4-narrow', 'int7'])(
    '%s-bytes keeps the grid of %s',
    (name) => {
      const [packed, bytes] = [parseFormat(name), parseFormat(`${name}-bytes`)];
      expect(bytes.name).toBe(`${name}-bytes`);
      expect([bytes.bits, bytes.low, bytes.high]).toEqual([packed.bits, packed.low, packed.high]);
      for (const x of [-100, -1.5, -0.5, 0, 0.49, 2.5, 100])
        expect(bytes.encode(x, 0)).toBe(packed.encode(x, 0));
      expect(bytes).toMatchObject({ dtype: packed.signed ? 'int8' : 'uint8', opset: 13 });
    },
  );

  it.each(['int8-bytes', 'int16-bytes', 'int4-bytes-narrow'])('%s is no format', (name) =>
    expect(() => parseFormat(name)).toThrow(/unknown number format/),
  );
});
