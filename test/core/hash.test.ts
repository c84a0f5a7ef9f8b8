import { describe, expect, it } from 'vitest';
import { canonicalJson, hashValue, sha256 } from '../../src/core/index.js';

describe('hashes', () => {
  it('are SHA-256 over the chunks in order', () => {
    expect(sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(sha256('a', Buffer.from('bc'))).toBe(sha256('abc'));
    expect(sha256('bc', 'a')).not.toBe(sha256('abc'));
  });

  it('of values do not depend on the order of keys', () => {
    expect(hashValue({ a: 1, b: { d: [1, 2], c: null } })).toBe(
      hashValue({ b: { c: null, d: [1, 2] }, a: 1 }),
    );
    expect(hashValue({ a: [1, 2] })).not.toBe(hashValue({ a: [2, 1] }));
  });

  it('come from sorted JSON', () =>
    expect(canonicalJson({ b: 1, a: { d: 2, c: 3 } })).toBe('{"a":{"c":3,"d":2},"b":1}'));
});
