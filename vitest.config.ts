import { defineConfig } from 'vitest/config';
import LongestFirst from './scripts/longest-first.mjs';

// Tests run from source: the `source` condition of every package's exports points at src/.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'bench/**/*.test.ts', 'tests/**/*.test.ts'],
    // Bounds for what hangs, far above what anything takes where three files share a slow machine: `eventually` says what was waited for earlier.
    testTimeout: 400_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
    pool: 'forks',
    // Much of a test's time is spent waiting for processes and networks: one file more than the smallest machine has cores.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    reporters: process.env.CI ? ['default', './scripts/closing-line-reporter.mjs'] : ['default'],
  },
});
