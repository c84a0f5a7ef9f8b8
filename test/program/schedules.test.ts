/** Schedules as expressions of the step number. */
import { expect, it } from 'vitest';
import {
  constantSchedule,
  cosineSchedule,
  createProgram,
  delayed,
  linearSchedule,
  runProgram,
  warmUp,
  type Schedule,
} from '../../src/program/index.js';

async function values(schedule: Schedule, steps: readonly number[]): Promise<number[]> {
  const p = createProgram();
  const results = await runProgram(
    p,
    steps.map((step) => schedule(p, p.scalar(step))),
  );
  return results.map((t) => (t.data as Float32Array)[0] ?? NaN);
}

const CASES: [string, Schedule, number[], number[]][] = [
  ['constant', constantSchedule(3), [0, 9], [3, 3]],
  ['linear', linearSchedule(20, 2, 6), [0, 3, 6, 9], [20, 11, 2, 2]],
  ['cosine', cosineSchedule(1, 0.2, 4), [0, 1, 2, 4, 5], [1, 0.2 + 0.4 * (1 + Math.SQRT1_2), 0.6, 0.2, 0.2]],
  ['warm-up, then cosine', warmUp(4, cosineSchedule(2, 0, 10)), [0, 1, 3, 4, 9, 14], [0.5, 1, 2, 2, 1, 0]],
  ['delayed', delayed(5, 7, linearSchedule(1, 0, 10)), [0, 4, 5, 10], [7, 7, 1, 0.5]],
];

for (const [name, schedule, steps, expected] of CASES) {
  it(`${name} schedule`, async () =>
    expect(await values(schedule, steps)).toBeAllclose(expected, { atol: 1e-6, rtol: 0 }));
}
