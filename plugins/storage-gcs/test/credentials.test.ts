import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Secret } from '@pgark/sdk';
import { GcsStorage, type GcsStorageOptions } from '@pgark/storage-gcs';
import { afterAll, afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { answer, body, scriptedServer, type ScriptedServer } from './scripted-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'pgark-gcs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.unstubAllEnvs());

function open(options: Partial<GcsStorageOptions>): GcsStorage {
  const storage = new GcsStorage({ bucket: 'archive', timeout: 10, ...options }, { directory: folder });
  onTestFinished(() => storage.close());
  return storage;
}

const failureOf = async (storage: GcsStorage): Promise<unknown> => storage.stat('key').catch((error: unknown) => error);

/** Application default credentials whose tokens a server of the test gives. */
function defaultCredentials(tokens: { readonly endpoint: string }): void {
  writeFileSync(join(folder, 'subject'), 'subject-token');
  const path = join(folder, 'external.json');
  writeFileSync(
    path,
    JSON.stringify({
      type: 'external_account',
      audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: `${tokens.endpoint}/token`,
      credential_source: { file: join(folder, 'subject') },
    }),
  );
  vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', path);
}

const token = { access_token: 'the-token', token_type: 'Bearer', expires_in: 3600 };
const objects = (): Promise<ScriptedServer> =>
  scriptedServer((response) => answer(response, 200, { size: '1', timeCreated: '2026-11-21T10:00:00Z' }));

test('requests carry the token of the application default credentials, fetched once', async () => {
  const tokens = await scriptedServer((response) => answer(response, 200, token));
  const server = await objects();
  defaultCredentials(tokens);
  const storage = open({ endpoint: server.endpoint });
  await storage.stat('key');
  await storage.put('key', body('x'), { ifAbsent: true });
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer the-token', 'Bearer the-token']);
  expect(tokens.lines).toEqual(['POST /token']);
});

test('a token that the storage no longer takes is not used again', async () => {
  const tokens = await scriptedServer((response, _, number) =>
    answer(response, 200, { ...token, access_token: `token-${number}` }),
  );
  const server = await scriptedServer((response, seen) => {
    if (seen.headers.authorization === 'Bearer token-2') answer(response, 200, { size: '1' });
    else answer(response, 401, { error: { code: 401, message: 'Invalid Credentials', errors: [] } });
  });
  defaultCredentials(tokens);
  const storage = open({ endpoint: server.endpoint });
  expect(await failureOf(storage)).toMatchObject({ code: 'STORAGE_DENIED' });
  expect(await storage.stat('key')).toMatchObject({ size: 1 });
  expect(server.requests).toHaveLength(2);
});

test('anonymous requests carry none', async () => {
  vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', join(folder, 'nothing.json'));
  const server = await objects();
  await open({ endpoint: server.endpoint, anonymous: true }).stat('key');
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
});

test('a refused token request is STORAGE_DENIED and the storage is not asked', async () => {
  const tokens = await scriptedServer((response) =>
    answer(response, 400, { error: 'invalid_grant', error_description: 'the token has expired' }),
  );
  const server = await objects();
  defaultCredentials(tokens);
  const error = await failureOf(open({ endpoint: server.endpoint }));
  expect(error).toMatchObject({ code: 'STORAGE_DENIED', retriable: false });
  expect(tokens.requests.length).toBeGreaterThan(0);
  expect(server.requests).toHaveLength(0);
  expect(inspect(error, { depth: 10 })).not.toContain('subject-token');
});

test('H-54 a token server that says nothing is STORAGE_UNAVAILABLE within the limit', async () => {
  const tokens = await scriptedServer(() => undefined);
  const server = await objects();
  defaultCredentials(tokens);
  const started = Date.now();
  const error = await failureOf(open({ endpoint: server.endpoint, timeout: 1 }));
  expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
  expect(Date.now() - started).toBeLessThan(5000);
  expect(tokens.requests).toHaveLength(1);
});

test('a key file is found beside the config; missing or no key it is STORAGE_MISCONFIGURED, without its text', async () => {
  const missing = await failureOf(open({ keyFile: 'missing.json' }));
  expect(missing).toMatchObject({
    code: 'STORAGE_MISCONFIGURED',
    message: `the key file ${join(folder, 'missing.json')} cannot be read: ENOENT`,
  });
  for (const text of ['s3cret', '"s3cret"', '{"type":"authorized_user","refresh_token":"s3cret"}']) {
    writeFileSync(join(folder, 'key.json'), text);
    for (const storage of [open({ keyFile: 'key.json' }), open({ credentials: new Secret(text) })]) {
      const error = await failureOf(storage);
      expect(error).toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
      expect(inspect(error, { depth: 10 })).not.toContain('s3cret');
    }
  }
});

test('a private key that is none is STORAGE_MISCONFIGURED, does not show, and the console stays clean', async () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const key = { type: 'service_account', client_email: 'writer@p', private_key: 's3cret' };
  const storage = open({ credentials: new Secret(JSON.stringify(key)) });
  const error = await failureOf(storage);
  expect(error).toMatchObject({ code: 'STORAGE_MISCONFIGURED' });
  expect(inspect([error, storage], { depth: 10 })).not.toContain('s3cret');
  expect(warn).not.toHaveBeenCalled();
});

test('no credentials at all are STORAGE_MISCONFIGURED and say how to give some', async () => {
  vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', join(folder, 'no-such-file.json'));
  expect(await failureOf(open({}))).toMatchObject({
    code: 'STORAGE_MISCONFIGURED',
    hint: expect.stringContaining('keyFile'),
  });
});
