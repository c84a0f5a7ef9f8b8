import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    disableConsoleIntercept: true,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // Tests share no state, and loading the modules for every file took a quarter of the time.
    isolate: false,
    // The default keeps one core free, which is half of a machine with two.
    maxWorkers: availableParallelism(),
    setupFiles: ['test/setup.ts'],
    coverage: { provider: 'v8', include: ['src/**'] },
  },
});
