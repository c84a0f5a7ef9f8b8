/** Exact binary exponents: Math.log2 may be off by one unit next to a power of two. */

/** ⌊log2 x⌋ for x > 0. */
export function floorLog2(x: number): number {
  const guess = Math.floor(Math.log2(x));
  if (2 ** guess > x) return guess - 1;
  return 2 ** (guess + 1) <= x ? guess + 1 : guess;
}

/** ⌈log2 x⌉ for x > 0. */
export function ceilLog2(x: number): number {
  const floor = floorLog2(x);
  return 2 ** floor === x ? floor : floor + 1;
}

/** x as a positive float32 scale: 1 for x = 0, and never below the smallest normal number. */
export function float32Scale(x: number): number {
  return x === 0 ? 1 : Math.max(Math.fround(x), 2 ** -126);
}

/** 2^exponent inside the normal float32 range. */
export function powerOfTwoScale(exponent: number): number {
  return 2 ** Math.min(Math.max(exponent, -126), 127);
}
