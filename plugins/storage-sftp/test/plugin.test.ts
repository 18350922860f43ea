import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { API_VERSION, Secret } from '@pgark/sdk';
import plugin from '@pgark/storage-sftp';
import { expect, test } from 'vitest';
import { testContext } from '@pgark/sdk/testing';

test('the manifest says what package.json says', () => {
  const { pgark } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { pgark: unknown };
  expect(pgark).toEqual({ kind: plugin.kind, name: plugin.name, apiVersion: API_VERSION });
});

test('options are strict', async () => {
  const issues = async (options: object): Promise<unknown> =>
    (await plugin.options['~standard'].validate({ host: 'h', user: 'u', path: 'p', ...options })).issues?.map(
      ({ path }) => path?.map(String),
    );
  expect(await issues({})).toBeUndefined();
  expect(await issues({ privateKey: new Secret('x'), passphrase: new Secret('x'), fileMode: '0400' })).toBeUndefined();
  expect(await issues({ hostKey: `SHA256:${'a'.repeat(43)}` })).toBeUndefined();
  expect(await issues({ hostKey: 'MD5:00:11' })).toEqual([['hostKey']]);
  expect(await issues({ privateKey: new Secret('x'), privateKeyFile: 'x' })).toEqual([['privateKeyFile']]);
  expect(await issues({ password: 'plain text is wrapped before it comes here' })).toEqual([['password']]);
  expect(await issues({ connections: 0 })).toEqual([['connections']]);
  expect(await issues({ createOnly: 'rename' })).toEqual([['createOnly']]);
  expect(await issues({ strictHostKeyChecking: false })).toHaveLength(1);
});

test('PLUGIN-01 importing loads no SSH library, PLUGIN-02 creating opens nothing', async () => {
  const script = `
    const { default: plugin } = await import('@pgark/storage-sftp');
    await plugin.create({ host: 'no.such.host.invalid', user: 'u', path: 'p' }, { directory: '/' });
    const { createRequire } = await import('node:module');
    const loaded = Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('ssh2'));
    console.log(JSON.stringify(loaded));`;
  const args = ['--conditions=@pgark/source', '--input-type=module', '-e', script];
  expect(execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })).toBe('[]\n');
});

test('whether a put refuses an existing object is known before there is a connection', async () => {
  const create = async (createOnly?: 'hardlink' | 'none'): Promise<boolean> => {
    const options = { host: 'h', user: 'u', path: 'p', ...(createOnly === undefined ? {} : { createOnly }) };
    const storage = await plugin.create(options, testContext());
    return storage.capabilities.conditionalPut;
  };
  expect([await create(), await create('hardlink'), await create('none')]).toEqual([true, true, false]);
});
