/** Sums of K powers of two: levels, projections, counts. */
import { describe, expect, it } from 'vitest';
import { countShiftAdds, parseFormat, signedDigits } from '../../src/formats/index.js';

/** Fewest signed powers of two that sum to n, by brute force over sums of up to three. */
function fewestTerms(n: number): number {
  const powers = Array.from({ length: 10 }, (_, e) => 2 ** e).flatMap((p) => [p, -p]);
  if (n === 0) return 0;
  if (powers.includes(n)) return 1;
  if (powers.some((p) => powers.includes(n - p))) return 2;
  if (powers.some((p) => powers.some((q) => powers.includes(n - p - q)))) return 3;
  return 4;
}

describe('signedDigits', () => {
  it('is the fewest terms, for every byte', () => {
    for (let n = -127; n <= 127; n++) expect([n, signedDigits(n)]).toEqual([n, fewestTerms(n)]);
  });
});

describe.each([1, 2, 3])('pot8k%i', (terms) => {
  const format = parseFormat(`pot8k${terms}`);
  const levels = Array.from({ length: 255 }, (_, i) => i - 127).filter((n) => fewestTerms(n) <= terms);

  it('encodes to the nearest sum of that many powers', () => {
    for (let x = -140; x <= 140; x += 0.37) {
      const code = format.encode(x);
      const nearest = Math.min(...levels.map((level) => Math.abs(level - x)));
      expect(levels).toContain(code + 0);
      expect(Math.abs(code - x)).toBeCloseTo(nearest, 10);
    }
  });
});

describe('pot8t2', () => {
  const format = parseFormat('pot8t2');
  it.each([
    [7, 6],
    [-7, -6],
    [96, 96],
    [127, 96],
    [200, 96],
    [5.4, 5],
    [0.4, 0],
  ])('keeps the two topmost bits of %d', (x, code) => expect(format.encode(x) + 0).toBe(code));
});

describe('countShiftAdds', () => {
  it('counts exactly', () => {
    // 7 = 8 − 1, 96 = 128 − 32, −4, 0, 11 = 8 + 4 − 1 (three signed digits, three bits).
    const codes = [7, 96, -4, 0, 11];
    expect(countShiftAdds(codes, 'k')).toEqual({
      shifts: 2 + 2 + 1 + 0 + 3,
      adds: 1 + 1 + 0 + 0 + 2,
      zeros: 1,
    });
    expect(countShiftAdds(codes, 't')).toEqual({
      shifts: 3 + 2 + 1 + 0 + 3,
      adds: 2 + 1 + 0 + 0 + 2,
      zeros: 1,
    });
  });

  it('needs at most K shifts a weight', () => {
    const format = parseFormat('pot8k2');
    const codes = Array.from({ length: 500 }, (_, i) => format.encode(Math.sin(i) * 127));
    expect(countShiftAdds(codes, 'k').shifts).toBeLessThanOrEqual(2 * codes.length);
  });
});
