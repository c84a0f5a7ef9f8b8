import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { reportOutput } from '../../src/config/report-settings.js';

function output(...reporters: readonly string[]): unknown {
  const flags = [{ source: '--reporter', path: ['report', 'reporters'], value: reporters }];
  return reportOutput(loadConfig({ folder: '/nowhere', flags }));
}

describe('reporters', () => {
  it.each([
    [['json']],
    [['text', 'json=report.json', 'html=report.html']],
    [['text', 'github-actions']],
    [['json', 'junit=gates.xml']],
  ])('%j go together', (reporters) => {
    expect(output(...reporters)).toMatchObject({ fail: true });
  });

  it.each([[['json', 'text']], [['text', 'junit']], [['json', 'sarif']]])(
    '%j would mix on standard output',
    (reporters) => {
      expect(() => output(...reporters)).toThrow(/both write to standard output/);
    },
  );
});
