import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { Secret } from '@pgark/sdk';
import { AzureStorage } from '@pgark/storage-azure';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ACCOUNT, ACCOUNT_KEY, AzureServer, azureMissing, sasOf } from '../../../test/support/azure-server.ts';
import { bytes, keysOf, open, put, read } from './helpers.ts';
import { HttpProxy } from './http-proxy.ts';

const BLOCK = 64 * 1024;

describe.skipIf(azureMissing !== undefined)('access', () => {
  let server: AzureServer;
  let count = 0;
  beforeAll(async () => {
    server = await AzureServer.start();
  });
  afterAll(() => server?.stop());
  const container = (): Promise<string> => server.createContainer(`access-${count++}`);

  test('a SAS that may only create, read and list stores what goes by one request, and deletes nothing', async () => {
    const name = await container();
    const writer = open(server, name, { blockSize: BLOCK, sasToken: sasOf(name, 'rcl') });
    await put(writer, 'key');
    expect(await keysOf(writer)).toEqual(['key']);
    expect((await read(writer, 'key')).toString()).toBe('content of key');
    await expect(put(writer, 'key')).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
    await expect(writer.remove(['key'])).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    // Blocks need the permission to write: docs/how-to/storage-azure.md.
    const large = (): AsyncIterable<Uint8Array> => bytes(8 * BLOCK, BLOCK);
    await expect(writer.put('large', large(), { ifAbsent: true })).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await writer.close();

    const larger = open(server, name, { blockSize: BLOCK, sasToken: sasOf(name, 'rcwl') });
    await larger.put('large', large(), { ifAbsent: true });
    await expect(larger.remove(['large'])).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await larger.close();
  });

  test('a SAS that may read and list restores, and stores nothing', async () => {
    const name = await container();
    const owner = open(server, name);
    await put(owner, 'key');
    await owner.close();
    const reader = open(server, name, { sasToken: sasOf(name, 'rl') });
    expect(await keysOf(reader)).toEqual(['key']);
    expect((await read(reader, 'key')).toString()).toBe('content of key');
    await expect(put(reader, 'other')).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await expect(reader.remove(['key'])).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await reader.close();
  });

  test.each(['with a key', 'with a SAS'])('a connection string %s says all', async (kind) => {
    const name = await container();
    const credential =
      kind === 'with a key'
        ? `AccountName=${ACCOUNT};AccountKey=${ACCOUNT_KEY}`
        : `SharedAccessSignature=${sasOf(name, 'rcwdl').reveal()}`;
    const connectionString = new Secret(
      `DefaultEndpointsProtocol=http;${credential};BlobEndpoint=${server.endpoint()};`,
    );
    const storage = new AzureStorage({ connectionString, container: name });
    await put(storage, 'key');
    expect(await keysOf(storage)).toEqual(['key']);
    expect(await storage.remove(['key'])).toEqual({ retained: [] });
    await storage.close();
  });

  test('STOR-12 a listing of many pages is whole and in order, from any place on', async () => {
    const name = await container();
    const proxy = await HttpProxy.listen(server.port);
    // Pages of three: a SAS does not sign the query.
    proxy.rewrite = (url) => (url.includes('comp=list') ? `${url}&maxresults=3` : url);
    const storage = open(server, name, { port: proxy.port, sasToken: sasOf(name, 'rcwdl') });
    const keys = [
      'a',
      'a/b',
      'b',
      'b/1',
      'b/é',
      'b/\ud7ff',
      'b/\ue000',
      'b/\uff5e',
      'b/\uff5e/x',
      'b/🐘',
      'b/🐘🐘',
      'b0',
      'c',
    ];
    keys.push('\ue000x', '\uff5e', '🐘/\uff5e', '🐘/🐘');
    for (const key of keys.toReversed()) await put(storage, key);
    proxy.seen.length = 0;
    expect(await keysOf(storage)).toEqual(keys);
    expect(proxy.counts()).toEqual({ 'GET list': Math.ceil(keys.length / 3) });
    for (const [index, key] of keys.entries()) expect(await keysOf(storage, '', key)).toEqual(keys.slice(index + 1));
    const below = keys.filter((key) => key.startsWith('b/'));
    for (const key of keys) {
      const after = below.filter((each) => Buffer.compare(Buffer.from(each), Buffer.from(key)) > 0);
      expect(await keysOf(storage, 'b/', key)).toEqual(after);
    }
    // The first page is enough for the first key, and one that begins late begins late at the server too.
    proxy.seen.length = 0;
    for await (const { key } of storage.list('')) {
      expect(key).toBe('a');
      break;
    }
    expect(await keysOf(storage, 'b', 'b/é')).toEqual(keys.slice(5, 12));
    expect(proxy.seen.length).toBeLessThanOrEqual(5);
    expect(new URL(proxy.seen[1]?.url ?? '', 'http://x').searchParams.get('startFrom')).toBe('b/é');
    await storage.close();
    await proxy.close();
  });
});

describe.skipIf(azureMissing !== undefined)('access over TLS', () => {
  let server: AzureServer;
  let folder = '';
  let certificate = '';
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pgark-azure-tls-'));
    certificate = join(folder, 'certificate.pem');
    const key = join(folder, 'key.pem');
    const request = ['req', '-x509', '-nodes', '-newkey', 'rsa:2048', '-days', '2', '-subj', '/CN=127.0.0.1'];
    const names = ['-addext', 'subjectAltName=IP:127.0.0.1'];
    execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', certificate], { stdio: 'pipe' });
    server = await AzureServer.start(['--oauth', 'basic', '--cert', certificate, '--key', key], { protocol: 'https' });
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test('a managed identity gets its token from the machine, a certificate that nobody knows is refused', async () => {
    const asked: IncomingMessage[] = [];
    const metadata = createServer((request, response) => {
      asked.push(request);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ ...tokenAnswer(), client_id: 'x' }));
    });
    metadata.listen(0, '127.0.0.1');
    await once(metadata, 'listening');
    const { port } = metadata.address() as AddressInfo;
    const before = { ...process.env };
    process.env['IDENTITY_ENDPOINT'] = `http://127.0.0.1:${port}/msi/token`;
    process.env['IDENTITY_HEADER'] = 'the header of this machine';
    const authorities = getCACertificates('default');
    const clientId = '11111111-2222-3333-4444-555555555555';
    const storage = new AzureStorage({
      account: ACCOUNT,
      clientId,
      container: 'identity',
      endpoint: server.endpoint(),
    });
    try {
      await expect(put(storage, 'key')).rejects.toMatchObject({
        code: 'STORAGE_MISCONFIGURED',
        hint: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
      });
      setDefaultCACertificates([...authorities, readFileSync(certificate, 'utf8')]);
      await server.createContainer('identity');
      await put(storage, 'key');
      expect((await read(storage, 'key')).toString()).toBe('content of key');
      expect(asked.length).toBeGreaterThan(0);
      const query = new URL(asked[0]?.url ?? '', 'http://x').searchParams;
      expect(query.get('client_id')).toBe(clientId);
      expect(query.get('resource')).toBe('https://storage.azure.com');
      expect(asked[0]?.headers['x-identity-header']).toBe('the header of this machine');
    } finally {
      setDefaultCACertificates(authorities);
      process.env = before;
      await storage.close();
      metadata.close();
    }
  });
});

/** What a machine's endpoint of identities answers; Azurite looks at the claims of a token, not at its signature. */
function tokenAnswer(): Record<string, string> {
  const now = Math.floor(Date.now() / 1000);
  const tenant = '22222222-2222-2222-2222-222222222222';
  const claims = {
    aud: 'https://storage.azure.com',
    iss: `https://sts.windows.net/${tenant}/`,
    iat: now - 60,
    nbf: now - 60,
    exp: now + 3600,
    tid: tenant,
    ver: '1.0',
  };
  const parts = [{ alg: 'RS256', typ: 'JWT' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  );
  return {
    access_token: `${parts.join('.')}.c2lnbmF0dXJl`,
    expires_on: String(claims.exp),
    resource: claims.aud,
    token_type: 'Bearer',
  };
}
