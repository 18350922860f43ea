import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CertificateAuthority, type CertificateFiles } from '../../../test/support/certificates.ts';
import { later } from '../../../test/support/later.ts';
import { Secret } from '../../src/contracts/secret.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { serveWal, type WalServer } from '../../src/server/wal-server.ts';
import { memoryRepository, pluginContext } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from '../wal-command/segments.ts';
import { ask, SERVE_DEFAULTS, target, TOKEN } from './serving.ts';

let folder = '';
let repository: Repository;
let authority: CertificateAuthority;
let certificate: CertificateFiles;
let clients: CertificateAuthority;
const { name: NAME } = walSegment(5n);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-serve-tls-'));
  repository = await memoryRepository();
  await repository.open({ create: true });
  await repository.wal(SYSTEM_ID).push(NAME, { bytes: walSegment(5n).bytes });
  authority = new CertificateAuthority(folder, 'servers');
  certificate = authority.issue('server', { alternative: 'DNS:localhost,IP:127.0.0.1' });
  clients = new CertificateAuthority(folder, 'clients');
});
afterAll(() => rmSync(folder, { recursive: true }));

async function serving(options: { readonly token?: boolean; readonly clientCa?: boolean }): Promise<WalServer> {
  const tls = { ...certificate, ...(options.clientCa === true ? { clientCa: clients.root } : {}) };
  return later(
    await serveWal({
      repositories: [repository],
      logger: pluginContext.logger,
      config: { ...SERVE_DEFAULTS, tls },
      ...(options.token === true ? { token: new Secret(TOKEN) } : {}),
    }),
    (server) => server.close(0),
  );
}

const trusted = (): { readonly ca: Buffer } => ({ ca: readFileSync(authority.root) });
const pair = ({ certificate, key }: CertificateFiles): { readonly cert: Buffer; readonly key: Buffer } => ({
  cert: readFileSync(certificate),
  key: readFileSync(key),
});

test('over TLS the token is asked for as without, and a client that does not know the CA gets no answer', async () => {
  const server = await serving({ token: true });
  expect(server.url).toMatch(/^https:/);
  expect((await ask(server, target(NAME), trusted())).status).toBe(200);
  expect((await ask(server, target(NAME), { ...trusted(), token: '' })).status).toBe(401);
  await expect(ask(server, target(NAME))).rejects.toThrow(/certificate/);
  const old: ConnectionOptions = { ...trusted(), maxVersion: 'TLSv1.1', minVersion: 'TLSv1' };
  await expect(ask(server, target(NAME), old)).rejects.toThrow();
});

test('a certificate of the CA of clients is a credential, one of another CA or none is not', async () => {
  const server = await serving({ clientCa: true });
  const good = pair(clients.issue('standby'));
  const foreign = pair(authority.issue('stranger'));
  expect((await ask(server, target(NAME), { ...trusted(), ...good, token: '' })).status).toBe(200);
  expect((await ask(server, target(NAME), { ...trusted(), ...foreign, token: '' })).status).toBe(401);
  expect((await ask(server, target(NAME), { ...trusted(), token: '' })).status).toBe(401);
  expect((await ask(server, target(NAME), trusted())).status).toBe(401);
  expect((await ask(server, '/healthz', { ...trusted(), token: '' })).status).toBe(200);
});

test('with both, one of them is enough', async () => {
  const server = await serving({ clientCa: true, token: true });
  expect((await ask(server, target(NAME), { ...trusted(), ...pair(clients.issue('both')), token: '' })).status).toBe(
    200,
  );
  expect((await ask(server, target(NAME), trusted())).status).toBe(200);
  expect((await ask(server, target(NAME), { ...trusted(), token: 'wrong' })).status).toBe(401);
});

/** One request over a socket of its own; gives the answer and a session with which another one can begin. */
async function over(
  server: WalServer,
  path: string,
  options: ConnectionOptions,
): Promise<{ said: string; session: Buffer | undefined; resumed: boolean }> {
  const { port } = new URL(server.url);
  let session: Buffer | undefined;
  let resumed = false;
  let said = '';
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({ port: Number(port), host: '127.0.0.1', ...trusted(), ...options }, () => {
      resumed = socket.isSessionReused();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    });
    socket.on('session', (given: Buffer) => (session = given));
    socket.on('data', (data: Buffer) => (said += data.toString('latin1')));
    socket.on('error', reject);
    socket.on('close', () => resolve({ said, session, resumed }));
  });
}

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'H-27 a session that began without a certificate is no credential when it is resumed (%s)',
  async (version) => {
    const server = await serving({ clientCa: true });
    const only = { minVersion: version, maxVersion: version };
    const first = await over(server, '/healthz', only);
    expect(first.said).toMatch(/^HTTP\/1\.1 200 /);
    const again = await over(server, target(NAME), { ...only, ...(first.session && { session: first.session }) });
    expect(again.resumed).toBe(true);
    expect(again.said).toMatch(/^HTTP\/1\.1 401 /);
    // One that began with a certificate is.
    const good = { ...only, ...pair(clients.issue('resuming')) };
    const known = await over(server, target(NAME), good);
    expect(known.said).toMatch(/^HTTP\/1\.1 200 /);
    const resumed = await over(server, target(NAME), { ...good, ...(known.session && { session: known.session }) });
    expect(resumed.said).toMatch(/^HTTP\/1\.1 200 /);
  },
);

test('a new certificate and a new token are taken without a stop, and a broken one leaves the old', async () => {
  const server = await serving({ token: true });
  const second = new CertificateAuthority(folder, 'second');
  const fresh = second.issue('fresh', { alternative: 'IP:127.0.0.1' });
  const was = { certificate: readFileSync(certificate.certificate), key: readFileSync(certificate.key) };
  later(undefined, () => {
    writeFileSync(certificate.certificate, was.certificate);
    writeFileSync(certificate.key, was.key);
  });
  writeFileSync(certificate.certificate, readFileSync(fresh.certificate));
  await expect(server.reload({ token: new Secret(`${TOKEN}2`) })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  expect((await ask(server, target(NAME), trusted())).status).toBe(200);
  writeFileSync(certificate.key, readFileSync(fresh.key));
  await server.reload({ token: new Secret(`${TOKEN}2`) });
  const ca = readFileSync(second.root);
  expect((await ask(server, target(NAME), { ca, token: `${TOKEN}2` })).status).toBe(200);
  expect((await ask(server, target(NAME), { ca })).status).toBe(401);
  await expect(ask(server, target(NAME), trusted())).rejects.toThrow(/certificate/);
  await expect(server.reload({})).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});
