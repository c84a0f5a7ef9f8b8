import { describe, expect, it } from 'vitest';
import type { Ora } from 'ora';
import { createProgress } from '../../src/cli/progress.js';

describe('progress without a terminal', () => {
  const run = (total: number | undefined, steps: [at: number, done: number][]): string[] => {
    let now = 0;
    const lines: string[] = [];
    const start = createProgress({ clock: () => now, write: (line) => void lines.push(line) });
    const progress = start('Calibrating', total);
    for (const [at, done] of steps) {
      now = at;
      progress.update(done);
    }
    progress.finish();
    return lines;
  };

  it('writes a line at the start, every tenth and at the end', () => {
    const steps = Array.from({ length: 40 }, (_, i): [number, number] => [(i + 1) * 1000, i + 1]);
    const lines = run(40, steps);
    expect(lines[0]).toBe('Calibrating …');
    expect(lines[1]).toBe('Calibrating: 4/40 (10 %), 36 s left');
    expect(lines.at(-2)).toBe('Calibrating: 40/40 (100 %)');
    expect(lines.at(-1)).toBe('Calibrating: done in 40 s');
    expect(lines).toHaveLength(12);
  });

  it('says little about what is done quickly', () => {
    const steps = Array.from({ length: 100 }, (_, i): [number, number] => [i * 10, i + 1]);
    expect(run(100, steps)).toEqual(['Calibrating …', 'Calibrating: done in 1.0 s']);
  });

  it('shows life every 30 s in a long step, with or without a known total', () => {
    expect(
      run(1000, [
        [31_000, 3],
        [45_000, 4],
        [130_000, 12],
      ]),
    ).toEqual([
      'Calibrating …',
      'Calibrating: 3/1000 (0 %), 171 min 42 s left',
      'Calibrating: 12/1000 (1 %), 178 min 23 s left',
      'Calibrating: done in 2 min 10 s',
    ]);
    expect(run(undefined, [[31_000, 3]])[1]).toBe('Calibrating: 3');
  });
});

describe('progress on a terminal', () => {
  it('updates a spinner that leaves the terminal in cooked mode', () => {
    const texts: string[] = [];
    let given: unknown;
    let now = 0;
    const spinner = {
      set text(value: string) {
        texts.push(value);
      },
      start: () => spinner,
      succeed: (value: string) => void texts.push(value),
    };
    const start = createProgress({
      clock: () => now,
      write: () => expect.unreachable(),
      spinner: (options) => {
        given = options;
        return spinner as unknown as Ora;
      },
    });
    const progress = start('Comparing', 10);
    now = 4000;
    progress.update(5, 'batch 2');
    progress.finish('Compared');
    expect(given).toMatchObject({ text: 'Comparing', discardStdin: false });
    expect(texts).toEqual(['Comparing, 5/10 (50 %), 4.0 s left, batch 2', 'Compared 4.0 s']);
  });
});
