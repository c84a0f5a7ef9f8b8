import { describe, expect, it } from 'vitest';
import { checkAbort, createContext } from '../../src/core/index.js';

describe('createContext', () => {
  it('collects notes and is repeatable by its seed', () => {
    const ctx = createContext({ seed: 5 });
    ctx.note({ level: 'warn', code: 'slow', message: 'it is slow' });
    ctx.start('work', 3).update(1);
    expect(ctx.notes.map((n) => n.code)).toEqual(['slow']);
    expect(ctx.rng.bits()).toBe(createContext({ seed: 5 }).rng.bits());
  });

  it('stops between steps when aborted', () => {
    const controller = new AbortController();
    const ctx = createContext({ signal: controller.signal });
    checkAbort(ctx);
    controller.abort();
    expect(() => checkAbort(ctx)).toThrow('interrupted');
  });
});
