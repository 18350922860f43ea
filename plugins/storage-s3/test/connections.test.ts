/** TLS with a certificate of one's own, and proxies. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Secret } from '@pgark/sdk';
import { S3Storage, type S3StorageOptions } from '@pgark/storage-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startVersity, versityMissing, type S3Server } from '../../../test/support/s3-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { proxyFor } from '../src/agents.ts';
import { failure, randomBody, readBack } from './helpers.ts';

describe.skipIf(versityMissing !== undefined)('TLS', () => {
  let folder: string;
  let server: S3Server;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pgark-s3-tls-'));
    const [key, certificate] = [join(folder, 'server.key'), join(folder, 'server.crt')];
    execFileSync(
      'openssl',
      [
        ...'req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=pgark'.split(' '),
        '-addext',
        'subjectAltName=IP:127.0.0.1',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'ignore' },
    );
    server = await startVersity({ buckets: ['archive'], tls: { certificate, key } });
  });
  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  const open = (options: Partial<S3StorageOptions> = {}): S3Storage =>
    new S3Storage(
      {
        bucket: 'archive',
        endpoint: server.endpoint,
        provider: 'minio',
        accessKeyId: server.accessKeyId,
        secretAccessKey: new Secret(server.secretAccessKey),
        ...options,
      },
      { directory: folder, logger: silentLogger },
    );

  test('a certificate that is not known is refused, and "caFile" makes it known', async () => {
    const storage = open({ caFile: 'server.crt' });
    const { body, sent } = randomBody(300_000);
    await storage.put('object', body, { ifAbsent: true });
    expect((await readBack(storage, 'object')).equals(sent())).toBe(true);
    await storage.close();
    const strict = open();
    const error = await failure(strict.stat('object'));
    expect([error.code, error.hint]).toEqual(['STORAGE_MISCONFIGURED', expect.stringContaining('caFile')]);
    await strict.close();
  });

  test('a CA file that is not there, or is none, is told by its name', async () => {
    writeFileSync(join(folder, 'none.crt'), 'nothing');
    for (const caFile of ['nothing.crt', 'none.crt']) {
      const error = await failure(open({ caFile }).stat('object'));
      expect([error.code, error.message]).toEqual(['STORAGE_MISCONFIGURED', expect.stringContaining(basename(caFile))]);
    }
  });

  test('requests go through the proxy of the option, with its password and our trust', async () => {
    const tunnels: (string | undefined)[] = [];
    const proxy = createServer().listen(0, '127.0.0.1');
    proxy.on('connect', (request, client) => {
      tunnels.push(request.headers['proxy-authorization']);
      const target = connect(Number(request.url?.split(':')[1]), '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        target.pipe(client).pipe(target);
      });
      for (const end of [client, target]) end.on('error', () => undefined);
    });
    await once(proxy, 'listening');
    const url = `http://user:proxy-password@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const storage = open({ caFile: 'server.crt', proxy: new Secret(url) });
    const { body, sent } = randomBody(300_000);
    await storage.put('through', body, { ifAbsent: true });
    expect((await readBack(storage, 'through')).equals(sent())).toBe(true);
    await storage.close();
    expect(tunnels.length).toBeGreaterThan(0);
    expect(tunnels[0]).toBe(`Basic ${Buffer.from('user:proxy-password').toString('base64')}`);
    proxy.closeAllConnections();
    proxy.close();
  });
});

describe('the proxy', () => {
  const settings = { bucket: 'archive', region: 'eu-central-1', endpoint: undefined, proxy: undefined };
  const host = (environment: Record<string, string>, endpoint?: string): string | undefined =>
    proxyFor({ ...settings, endpoint }, environment)?.host;

  test('comes from the variables that other tools heed, but not for excluded hosts', () => {
    expect(host({})).toBeUndefined();
    expect(host({ HTTPS_PROXY: 'http://proxy:3128' })).toBe('proxy:3128');
    expect(host({ https_proxy: 'proxy:3128' })).toBe('proxy:3128');
    expect(host({ HTTP_PROXY: 'http://proxy:3128' })).toBeUndefined();
    expect(host({ HTTP_PROXY: 'http://proxy:3128' }, 'http://minio:9000')).toBe('proxy:3128');
    for (const list of ['*', 'a,.amazonaws.com', 'amazonaws.com', '*.amazonaws.com', 's3.eu-central-1.amazonaws.com']) {
      expect(host({ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: list }), list).toBeUndefined();
    }
    for (const list of ['', 'aws.com', 'amazonaws.com:80', 'minio']) {
      expect(host({ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: list }), list).toBe('proxy:3128');
    }
  });

  test('that is no URL is refused without showing it', () => {
    const make = (): unknown => proxyFor({ ...settings, proxy: new Secret('socks://user:password@proxy') }, {});
    expect(make).toThrow(expect.objectContaining({ code: 'STORAGE_MISCONFIGURED' }));
    expect(make).not.toThrow(/password/);
  });
});
