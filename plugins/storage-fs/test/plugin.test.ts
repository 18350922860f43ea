import { readFileSync } from 'node:fs';
import { API_VERSION } from '@pgark/sdk';
import plugin from '@pgark/storage-fs';
import { expect, test } from 'vitest';
import { testContext } from '@pgark/sdk/testing';
import { keysOf, put } from './helpers.ts';
import { temporaryFolder } from './processes.ts';

test('the manifest says what package.json says', () => {
  const { pgark } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { pgark: unknown };
  expect(pgark).toEqual({ kind: plugin.kind, name: plugin.name, apiVersion: API_VERSION });
});

test('options are strict: a mode is octal text, and an unknown key is refused', async () => {
  const issues = async (options: unknown): Promise<unknown> =>
    (await plugin.options['~standard'].validate(options)).issues?.map(({ path }) => path?.map(String));
  expect(await issues({ path: 'archive', fileMode: '0640', directoryMode: '750' })).toBeUndefined();
  expect(await issues({})).toEqual([['path']]);
  expect(await issues({ path: '' })).toEqual([['path']]);
  expect(await issues({ path: 'archive', fileMode: 640 })).toEqual([['fileMode']]);
  expect(await issues({ path: 'archive', fileMode: '0888' })).toEqual([['fileMode']]);
  expect(await issues({ path: 'archive', paht: 'x' })).toHaveLength(1);
});

test("a relative path starts at the config file's folder, and creating opens nothing", async () => {
  const directory = temporaryFolder();
  const storage = await plugin.create({ path: 'archive' }, testContext({ directory }));
  await put(storage, 'key');
  const same = await plugin.create({ path: `${directory}/archive` }, testContext({ directory: '/nowhere' }));
  expect(await keysOf(same)).toEqual(['key']);
  await plugin.create({ path: 'no/such/folder' }, testContext({ directory }));
});
