import { describe, expect, it } from 'vitest';
import { assert, EXIT, FxqError, required } from '../../src/core/index.js';

describe('FxqError', () => {
  it.each([
    ['E_GATE', EXIT.gate],
    ['E_MODEL', EXIT.input],
    ['E_INTERNAL', EXIT.internal],
    ['E_INTERRUPTED', EXIT.interrupted],
  ] as const)('%s exits with %d', (code, exit) => expect(new FxqError(code, 'what').exit).toBe(exit));

  it('carries what to do, and the cause', () => {
    const cause = new Error('why');
    const error = new FxqError('E_FILE', 'what', 'do this', { cause });
    expect([error.name, error.message, error.fix, error.cause]).toEqual([
      'FxqError',
      'what',
      ['do this'],
      cause,
    ]);
    expect(new FxqError('E_FILE', 'what', ['a', 'b']).fix).toEqual(['a', 'b']);
  });
});

describe('checks of what fxq guarantees', () => {
  it('fail as internal errors', () => {
    expect(() => assert(false, 'the list is empty')).toThrow('internal: the list is empty');
    expect(() => required(undefined, 'the name')).toThrow('internal: missing the name');
    expect(() => required(null, 'the name')).toThrow(FxqError);
    expect(required(0, 'zero')).toBe(0);
  });
});
