import { describe, expect, it } from 'vitest';
import { flagValues } from '../../src/cli/flag-values.js';

const valueOf = (name: string, given: unknown): unknown =>
  flagValues(
    { [name]: given },
    { [name]: ['key'] },
    (flag) => `--${flag}`,
    (text) => text,
  )[0]?.value;

describe('numbers', () => {
  it.each([
    ['0.5', 0.5],
    ['1e-3', 0.001],
    ['-2', -2],
    ['auto', 'auto'],
    ['abc', 'abc'],
    // Number('') is 0, which would be a value nobody gave.
    ['', ''],
    [' ', ' '],
  ])('%j is %j', (text, expected) => {
    expect(valueOf('smooth-alpha', text)).toBe(expected);
  });
});
