import { chmodSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { SOURCE_FLAGS } from './support/source-flags.ts';

const WORKERS = { unit: 3, integration: 4 };

/** The commands that tests and their servers start run from source: each finds here what an earlier one compiled, under any user. */
const COMPILED = fileURLToPath(new URL('../node_modules/.cache/pgark-commands', import.meta.url));
mkdirSync(COMPILED, { recursive: true });
chmodSync(COMPILED, 0o1777);
const env = { NODE_COMPILE_CACHE: COMPILED };

const source = { resolve: { conditions: ['@pgark/source'] } };

/**
 * Two projects, one after the other: `unit` needs no PostgreSQL; `integration` starts servers of it, so that few of its files may run at
 * once. Both wait for servers and timers more than they compute: more workers than two cores, where vitest would take one.
 */
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    projects: [
      {
        ssr: source,
        test: {
          name: 'unit',
          include: [
            '{core,sdk,sdk/create-pgark-plugin,plugins/*}/test/**/*.test.ts',
            'test/{conformance,docs,golden}/**/*.test.ts',
          ],
          exclude: ['test/docs/plugin-author/**'],
          execArgv: [...SOURCE_FLAGS],
          env,
          maxWorkers: WORKERS.unit,
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        ssr: source,
        test: {
          name: 'integration',
          include: ['test/{integration,faults,docs/plugin-author}/**/*.test.ts'],
          // Many minutes of waiting for alerts: they are not even loaded otherwise.
          exclude: process.env['PGARK_TEST_FULL'] === '1' ? [] : ['test/integration/alerts/**'],
          execArgv: [...SOURCE_FLAGS],
          env,
          maxWorkers: WORKERS.integration,
          sequence: { groupOrder: 1 },
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
