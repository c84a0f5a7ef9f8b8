import { describe, expect, test } from 'vitest';
import { createContext, type Note } from '../../src/core/index.js';
import { openDataSet } from '../../src/data/index.js';
import { value } from '../../src/onnx/index.js';
import { shareSamples, type SharedSamples } from '../../src/pipeline/share-samples.js';

interface Shared extends SharedSamples {
  readonly notes: readonly Note[];
}

async function share(count: number, samples: number, batch: number | 'N' = 'N'): Promise<Shared> {
  const ctx = createContext({ seed: 0 });
  const inputs = [value('x', 'float32', [batch, 2])];
  const whole = await openDataSet({ kind: 'random', samples: count }, inputs, ctx);
  const notes: Note[] = [];
  const shared = shareSamples(whole, samples, { note: (note) => void notes.push(note) });
  return { ...shared, notes };
}

const sizes = ({ fit, study, judged }: SharedSamples): number[] => [
  fit.samples,
  study.samples,
  judged.samples,
];

const common = (a: SharedSamples['fit'], b: SharedSamples['fit']): number =>
  a.rows.filter((row) => b.rows.includes(row)).length;

describe('shareSamples', () => {
  test('of plenty, all three are apart', async () => {
    const shared = await share(4000, 128);
    expect(sizes(shared)).toEqual([1024, 128, 256]);
    expect(common(shared.fit, shared.study)).toBe(0);
    expect(common(shared.fit, shared.judged)).toBe(0);
    expect(common(shared.study, shared.judged)).toBe(0);
    expect(shared.notes).toEqual([]);
  });

  test.each([
    [512, [256, 128, 128], 0],
    [400, [200, 128, 200], 128],
    [256, [128, 128, 128], 128],
    [100, [50, 50, 50], 50],
  ])('of %i, half is for fitting alone', async (count, expected, both) => {
    const shared = await share(count, 128);
    expect(sizes(shared)).toEqual(expected);
    expect(common(shared.fit, shared.study)).toBe(0);
    expect(common(shared.fit, shared.judged)).toBe(0);
    expect(common(shared.study, shared.judged)).toBe(both);
  });

  test('warns where few can judge', async () => {
    const { notes } = await share(20, 128);
    expect(notes).toEqual([expect.objectContaining({ level: 'warn', code: 'few-samples' })]);
  });

  test('one sample serves all three', async () => {
    expect(sizes(await share(1, 128))).toEqual([1, 1, 1]);
  });

  test('parts are whole batches where the model fixes these', async () => {
    expect(sizes(await share(40, 8, 16))).toEqual([16, 16, 16]);
  });
});
