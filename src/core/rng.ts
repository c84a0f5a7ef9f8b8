/** Seeded random numbers: one forkable generator, so that every stochastic step has a name and a reproducible stream. */

export interface Rng {
  /** Next 32 random bits as an unsigned integer. */
  bits(): number;
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform integer in [0, n). */
  below(n: number): number;
  /** Standard normal (Box–Muller). */
  normal(): number;
  /** In-place Fisher–Yates shuffle; returns its argument. */
  shuffle<T>(items: T[]): T[];
  /** `count` distinct integers of [0, n), ascending. */
  sample(n: number, count: number): number[];
  /** An independent generator; the same name always gives the same stream. */
  fork(name: string): Rng;
}

function hashName(seed: number, name: string): number {
  let hash = (seed ^ 0x811c9dc5) >>> 0;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** Creates a generator (sfc32 seeded by splitmix32). */
export function createRng(seed: number): Rng {
  let state = seed >>> 0;
  const split = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let a = split();
  let b = split();
  let c = split();
  let counter = 1;
  const bits = (): number => {
    const t = (((a + b) >>> 0) + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + t) >>> 0;
    return t;
  };
  for (let i = 0; i < 12; i++) bits();
  const uniform = (): number => bits() / 0x1_0000_0000;
  const below = (n: number): number => Math.floor(uniform() * n);
  const shuffle = <T>(items: T[]): T[] => {
    for (let i = items.length - 1; i > 0; i--) {
      const j = below(i + 1);
      const held = items[i] as T;
      items[i] = items[j] as T;
      items[j] = held;
    }
    return items;
  };
  return {
    bits,
    uniform,
    below,
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    shuffle,
    sample: (n, count) =>
      shuffle(Array.from({ length: n }, (_, i) => i))
        .slice(0, count)
        .sort((x, y) => x - y),
    fork: (name) => createRng(hashName(seed, name)),
  };
}
