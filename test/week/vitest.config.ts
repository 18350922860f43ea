import { defineConfig } from 'vitest/config';
import { SOURCE_FLAGS } from '../support/source-flags.ts';

export default defineConfig({
  root: new URL('../..', import.meta.url).pathname,
  ssr: { resolve: { conditions: ['@pgark/source'] } },
  test: { name: 'week', include: ['test/week/**/*.test.ts'], execArgv: [...SOURCE_FLAGS], hookTimeout: 120_000 },
});
