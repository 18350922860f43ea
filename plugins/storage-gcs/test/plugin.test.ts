import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { API_VERSION, Secret } from '@pgark/sdk';
import plugin from '@pgark/storage-gcs';
import { expect, test } from 'vitest';
import { testContext } from '@pgark/sdk/testing';
import { SOURCE_FLAGS } from '../../../test/support/source-flags.ts';

test('the manifest says what package.json says', () => {
  const { pgark } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { pgark: unknown };
  expect(pgark).toEqual({ kind: plugin.kind, name: plugin.name, apiVersion: API_VERSION });
  expect(plugin.secrets).toEqual(['credentials']);
});

const issues = async (options: Record<string, unknown>): Promise<unknown> =>
  (await plugin.options['~standard'].validate({ bucket: 'archive', ...options })).issues?.map(({ path }) =>
    path?.map(String),
  );

test('options are strict', async () => {
  expect(await issues({})).toBeUndefined();
  expect(await issues({ bucket: undefined })).toEqual([['bucket']]);
  expect(await issues({ buckte: 'x' })).toHaveLength(1);
  expect(await issues({ chunkSize: 262_144, timeout: 0.5, retention: 'locked' })).toBeUndefined();
  expect(await issues({ chunkSize: 262_145 })).toEqual([['chunkSize']]);
  expect(await issues({ chunkSize: 0 })).toEqual([['chunkSize']]);
  expect(await issues({ retention: 'governance' })).toEqual([['retention']]);
  expect(await issues({ timeout: 0 })).toEqual([['timeout']]);
});

test('credentials are given in at most one way, and as a secret', async () => {
  const credentials = new Secret('{}');
  expect(await issues({ credentials })).toBeUndefined();
  expect(await issues({ keyFile: 'key.json' })).toBeUndefined();
  expect(await issues({ anonymous: true })).toBeUndefined();
  expect(await issues({ keyFile: 'key.json', anonymous: false })).toBeUndefined();
  expect(await issues({ credentials: '{}' })).toEqual([['credentials']]);
  expect(await issues({ credentials, keyFile: 'key.json' })).toHaveLength(1);
  expect(await issues({ credentials, anonymous: true })).toHaveLength(1);
  expect(await issues({ keyFile: 'key.json', anonymous: true })).toHaveLength(1);
});

test('an endpoint is an origin, and credentials do not go over a network without TLS', async () => {
  expect(await issues({ endpoint: 'https://storage-psc.p.googleapis.com' })).toBeUndefined();
  expect(await issues({ endpoint: 'https://example.com:4443/' })).toBeUndefined();
  for (const endpoint of ['storage.example.com', 'https://example.com/path', 'ftp://example.com', 'https://a:b@c']) {
    expect(await issues({ endpoint, anonymous: true })).toEqual([['endpoint']]);
  }
  expect(await issues({ endpoint: 'http://gcs:4443' })).toEqual([['endpoint']]);
  expect(await issues({ endpoint: 'http://gcs:4443', anonymous: true })).toBeUndefined();
  expect(await issues({ endpoint: 'http://127.0.0.1:4443' })).toBeUndefined();
});

test('PLUGIN-01 PLUGIN-02 importing the plugin and creating a storage loads nothing of Google', () => {
  const source = fileURLToPath(new URL('../src/index.ts', import.meta.url));
  const script = `
    import { createRequire } from 'node:module';
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('google-auth-library')).length;
    const { default: plugin } = await import(${JSON.stringify(source)});
    await plugin.create({ bucket: 'archive' }, { directory: '/', logger: undefined });
    const before = loaded();
    await import('@google-cloud/storage');
    process.stdout.write(before + ' ' + (loaded() > 0));
  `;
  const output = execFileSync(
    process.execPath,
    [...SOURCE_FLAGS, '--conditions=@pgark/source', '--input-type=module', '-e', script],
    {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      encoding: 'utf8',
    },
  );
  expect(output).toBe('0 true');
});

test('creating opens nothing, and after close every call fails', async () => {
  const storage = await plugin.create({ bucket: 'archive' }, testContext());
  await storage.close();
  await storage.close();
  await expect(storage.stat('key')).rejects.toMatchObject({ code: 'INTERNAL' });
});
