import { PassThrough } from 'node:stream';
import { WriteStream } from 'node:tty';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { painter } from '../../src/cli/style.js';

afterEach(() => vi.unstubAllEnvs());

/** A stream that judges the environment as a terminal does. */
const stream = (isTTY: boolean): PassThrough =>
  Object.assign(new PassThrough(), { isTTY, getColorDepth: WriteStream.prototype.getColorDepth });

beforeEach(() => {
  vi.stubEnv('NO_COLOR', undefined);
  vi.stubEnv('FORCE_COLOR', undefined);
  vi.stubEnv('CI', undefined);
  vi.stubEnv('TERM', 'xterm-256color');
});

it('paints on a terminal, and nowhere else', () => {
  expect(painter(stream(true))('good', 'x')).toBe('\u001b[32mx\u001b[39m');
  for (const tone of ['good', 'bad', 'warn', 'muted', 'title', 'plain'] as const)
    expect(painter(stream(false))(tone, 'x')).toBe('x');
});

it('obeys NO_COLOR and FORCE_COLOR', () => {
  vi.stubEnv('FORCE_COLOR', '1');
  expect(painter(stream(false))('bad', 'x')).toContain('\u001b[31m');
  vi.stubEnv('FORCE_COLOR', undefined);
  vi.stubEnv('NO_COLOR', '1');
  expect(painter(stream(true))('bad', 'x')).toBe('x');
});
