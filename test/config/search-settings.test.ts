import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig, searchSettings } from '../../src/config/index.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

function settingsOf(text: string): ReturnType<typeof searchSettings> {
  const file = join(folder, 'fxq.config.yaml');
  writeFileSync(file, `model: model.onnx\ndata: { path: train.npz }\n${text}`);
  return searchSettings(loadConfig({ folder, file, flags: [] }));
}

describe('searchSettings', () => {
  it('measure with ranges that layers choose, and leave scales of what is written to measurement', () => {
    const { ranges, weightRange, scales } = settingsOf('');
    expect([ranges.method, weightRange]).toEqual(['layer-error', 'mse']);
    expect(scales).toEqual({ ranges: { method: 'auto' }, weightRange: 'auto' });
  });

  it('take over how the configuration chooses scales', () => {
    const { ranges, scales } = settingsOf(
      'calibration: { method: percentile, percentile: 99.9 }\nquantize: { weightRange: range }\n',
    );
    expect(ranges).toEqual({ method: 'percentile', percentile: 99.9 });
    expect(scales).toEqual({ ranges: { method: 'percentile', percentile: 99.9 }, weightRange: 'range' });
  });
});
