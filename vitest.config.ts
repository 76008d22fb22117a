import { defineConfig } from 'vitest/config';

// Tests run from source: the `source` condition of every package's exports points at src/.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'bench/**/*.test.ts', 'tests/**/*.test.ts'],
    testTimeout: 180_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // Much of a test's time is spent waiting for processes and networks: one file more than the smallest machine has cores.
    maxWorkers: 3,
    reporters: process.env.CI ? ['default', './scripts/closing-line-reporter.mjs'] : ['default'],
  },
});
