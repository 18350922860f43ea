import { defineConfig } from 'vitest/config';
import { SOURCE_FLAGS } from './support/source-flags.ts';

const source = { resolve: { conditions: ['@pgark/source'] } };

/** Two projects: `unit` needs no server and runs in parallel; `integration` starts real ones and runs file by file. */
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    projects: [
      {
        ssr: source,
        test: {
          name: 'unit',
          include: ['{core,sdk,plugins/*}/test/**/*.test.ts', 'test/{conformance,docs,golden}/**/*.test.ts'],
          execArgv: [...SOURCE_FLAGS],
          testTimeout: 30_000,
        },
      },
      {
        ssr: source,
        test: {
          name: 'integration',
          include: ['test/{integration,faults}/**/*.test.ts'],
          execArgv: [...SOURCE_FLAGS],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
