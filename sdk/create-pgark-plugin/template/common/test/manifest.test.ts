import { API_VERSION } from '@pgark/sdk';
import { expect, test } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import plugin from '../src/index.ts';

// pgark lists plugins by package.json and loads them by their manifest: it refuses one whose two sides differ.
test('package.json says what the manifest says', () => {
  const { kind, name, suffix } = plugin;
  expect(packageJson.pgark).toEqual({ kind, name, apiVersion: API_VERSION, ...(suffix !== undefined && { suffix }) });
});

test('an option that does not exist is refused', async () => {
  const result = await plugin.options['~standard'].validate({ noSuchOption: 1 });
  expect(JSON.stringify(result.issues)).toContain('noSuchOption');
});
