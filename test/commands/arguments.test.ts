import { describe, expect, it } from 'vitest';
import Calibrate from '../../src/commands/calibrate.js';
import Merge from '../../src/commands/merge.js';
import Quantize from '../../src/commands/quantize.js';
import Report from '../../src/commands/report.js';
import Search from '../../src/commands/search.js';
import Synthesize from '../../src/commands/synthesize.js';

describe.each([Calibrate, Merge, Quantize, Report, Search, Synthesize])('$name', ({ args }) => {
  // oclif fills a missing argument with whatever a pipeline has on stdin, over the model of the configuration.
  it('takes no argument from stdin', () => {
    for (const argument of Object.values(args)) expect(argument.ignoreStdin).toBe(true);
  });
});
