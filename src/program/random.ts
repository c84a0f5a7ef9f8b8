/** Random numbers inside a program: a hash of seed, step and element, so that a run can be repeated exactly. */
import { tensor } from '../tensor/index.js';
import { type Program } from './program.js';
import { knownDims, type Value } from './value.js';

/** Multipliers and shifts of MurmurHash3's 32-bit finalizer (Appleby 2011), by which every bit depends on every other. */
const FIRST = 0x85ebca6b;
const SECOND = 0xc2b2ae35;

/**
 * Uniform numbers in [0, 1) with 24 bits, in the shape of a value. The same seed and step always give the same
 * numbers; another step gives independent ones.
 *
 * @param step integer scalar: the iteration of a loop, for example
 */
export function uniform(p: Program, like: Value, step: Value, seed: number): Value {
  const dims = knownDims(like);
  const size = dims.reduce((a, b) => a * b, 1);
  const index = p.reshape(p.cast(p.range(size), 'uint32'), dims);
  const key = mix(p, p.add(p.cast(step, 'uint32'), unsigned(p, mixNumber(seed))));
  const bits = mix(p, p.add(mix(p, index), key));
  return p.mul(p.cast(p.shiftRight(bits, unsigned(p, 8)), 'float32'), 2 ** -24);
}

function unsigned(p: Program, value: number): Value {
  return p.constant(tensor('uint32', [], [value]));
}

function mix(p: Program, x: Value): Value {
  const fold = (v: Value, shift: number): Value => p.bitXor(v, p.shiftRight(v, unsigned(p, shift)));
  const once = p.mul(fold(x, 16), unsigned(p, FIRST));
  return fold(p.mul(fold(once, 13), unsigned(p, SECOND)), 16);
}

/** The same of a number. */
function mixNumber(x: number): number {
  let h = x >>> 0;
  h = Math.imul(h ^ (h >>> 16), FIRST);
  h = Math.imul(h ^ (h >>> 13), SECOND);
  return (h ^ (h >>> 16)) >>> 0;
}
