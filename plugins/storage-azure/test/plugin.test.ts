import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { API_VERSION, Secret } from '@pgark/sdk';
import plugin from '@pgark/storage-azure';
import { expect, test } from 'vitest';
import { testContext } from '@pgark/sdk/testing';
import { SOURCE_FLAGS } from '../../../test/support/source-flags.ts';
import { decodeMetadata, encodeMetadata } from '../src/metadata.ts';
import { put } from './helpers.ts';

test('the manifest says what package.json says', () => {
  const { pgark } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { pgark: unknown };
  expect(pgark).toEqual({ kind: plugin.kind, name: plugin.name, apiVersion: API_VERSION });
});

async function issues(options: unknown): Promise<unknown> {
  const { issues } = await plugin.options['~standard'].validate(options);
  return issues?.map(({ path, message }) => `${path?.map(String).join('.')}: ${message}`);
}

const account = 'anaccount';
const container = 'archive';
const secret = new Secret('secret');

test('there is exactly one way to prove who one is', async () => {
  for (const options of [
    { account, container },
    { account, container, accountKey: secret },
    { account, container, sasToken: secret },
    { account, container, clientId: '00000000-0000-0000-0000-000000000000' },
    { connectionString: secret, container },
  ]) {
    expect(await issues(options)).toBeUndefined();
  }
  expect(await issues({ account, container, accountKey: secret, sasToken: secret })).toEqual([
    'sasToken: Give one credential only: there is accountKey already',
  ]);
  expect(await issues({ account, container, accountKey: secret, clientId: 'x' })).toHaveLength(1);
  expect(await issues({ account, container, connectionString: secret })).toEqual([
    'account: Is part of connectionString: leave it out',
  ]);
  expect(await issues({ container })).toEqual(['account: Name the storage account']);
});

test('what would give a credential away goes over TLS only', async () => {
  const endpoint = 'http://azurite:10000/anaccount';
  expect(await issues({ account, container, endpoint, accountKey: secret })).toBeUndefined();
  expect(await issues({ account, container, endpoint, sasToken: secret })).toHaveLength(1);
  expect(await issues({ account, container, endpoint: 'http://127.0.0.1:1/x', sasToken: secret })).toBeUndefined();
  expect(await issues({ account, container, endpoint: 'http://127.0.0.1:1/x' })).toHaveLength(1);
  expect(await issues({ account, container, endpoint: 'https://azurite/x' })).toBeUndefined();
});

test('options are strict', async () => {
  expect(
    await issues({
      account,
      container,
      endpoint: 'https://anaccount.blob.core.usgovcloudapi.net',
      accessTier: 'Cool',
      blockSize: 16 * 1024 * 1024,
      timeout: 30,
      immutability: 'Locked',
    }),
  ).toBeUndefined();
  for (const wrong of [
    { container: 'Upper' },
    { container: 'a--b' },
    { account: 'has-dash' },
    { accountKey: 'not wrapped' },
    { endpoint: 'ftp://x' },
    { endpoint: 'no url' },
    { accessTier: 'Archive' },
    { blockSize: 1000 },
    { blockSize: '8' },
    { timeout: 0 },
    { immutability: 'locked' },
    { contaner: 'x' },
  ]) {
    expect(await issues({ account, container, ...wrong }), JSON.stringify(wrong)).toHaveLength(1);
  }
});

test('PLUGIN-01 neither the import nor create loads the client library, the first call does', async () => {
  const script = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ resolve: (name, context, next) => (loaded.push(name), next(name, context)) });
    const { default: plugin } = await import('@pgark/storage-azure');
    const storage = plugin.create({ connectionString: { reveal: () => 'nonsense' }, container: 'archive' }, {});
    const before = loaded.filter((name) => name.startsWith('@azure/'));
    const code = await storage.stat('key').catch((error) => error.code);
    console.log(JSON.stringify({ before, code, after: loaded.includes('@azure/storage-blob'), identity: loaded.includes('@azure/identity') }));
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...SOURCE_FLAGS, '--conditions=@pgark/source', '--input-type=module', '--eval', script],
    { cwd: fileURLToPath(new URL('..', import.meta.url)) },
  );
  expect(JSON.parse(stdout)).toEqual({ before: [], code: 'STORAGE_MISCONFIGURED', after: true, identity: false });
});

test('a connection string that cannot be read is not quoted', async () => {
  const storage = await plugin.create(
    { connectionString: new Secret('AccountName=x;AccountKey'), container },
    testContext(),
  );
  await expect(put(storage, 'key')).rejects.toMatchObject({
    code: 'STORAGE_MISCONFIGURED',
    message: 'the credentials of the storage account cannot be read',
  });
  await storage.close();
});

test('metadata of any name and value survives names that are identifiers without case, and values in ASCII', () => {
  const metadata = { 'with-dash': 'a b', Upper: 'é🐘', under_score: ' x ', '1': '', 'ключ🐘': '100%' };
  const encoded = encodeMetadata(metadata);
  for (const [name, value] of Object.entries(encoded)) {
    expect(name).toMatch(/^[a-z_][a-z0-9_]*$/);
    expect(value).toMatch(/^[\x21-\x7e]*$/);
  }
  expect(decodeMetadata({ ...encoded, hdi_isfolder: 'true' })).toEqual(metadata);
  expect(decodeMetadata({ foreign: 'x' })).toBeUndefined();
});
