/** The restore_command for hosts without pgark, as sh and curl run it. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CertificateAuthority } from '../../../test/support/certificates.ts';
import { freePort } from '../../../test/support/free-port.ts';
import { later } from '../../../test/support/later.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { settingValue } from '../../src/restore/quoting.ts';
import { curlClientCommand, pgarkClientCommand, type ClientCommandOptions } from '../../src/server/client-command.ts';
import { memoryRepository } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from '../wal-command/segments.ts';
import { SERVE_DEFAULTS, serving, TOKEN } from './serving.ts';

// They wait for others more than they compute; a busy machine makes them wait longer.
vi.setConfig({ testTimeout: 120_000 });

const { name: NAME, bytes: BYTES } = walSegment(5n);
const TYPE = { 'Content-Type': 'application/vnd.pgark.wal' };
const NO_CURL = spawnSync('curl', ['--version']).status !== 0;

let data = '';
let tokenFile = '';
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), "pgark 'curl' "));
  mkdirSync(join(data, 'pg_wal'));
  tokenFile = join(data, 'the token');
  writeFileSync(tokenFile, `${TOKEN}\n`);
});
afterEach(() => rmSync(data, { recursive: true }));

const placed = (): string => join(data, 'pg_wal', 'RECOVERYXLOG');

function command(options: Partial<ClientCommandOptions>): string {
  return curlClientCommand({ url: '', cluster: 'main', systemId: SYSTEM_ID, tokenFile, ...options });
}

/** What PostgreSQL hands to the shell. */
function replaced(text: string, name: string): string {
  return text.replaceAll(/%(.)/g, (_, letter: string) => {
    const known: Readonly<Record<string, string>> = { f: name, p: 'pg_wal/RECOVERYXLOG', '%': '%' };
    const value = known[letter];
    if (value === undefined) throw new Error(`PostgreSQL refuses %${letter}`);
    return value;
  });
}

/** Runs a restore_command in the data directory; gives its exit code. Without `patient` a failure is not tried again. */
async function run(text: string, name = NAME, { patient = false } = {}): Promise<number | null> {
  const shell = replaced(patient ? text : text.replace('+60))', '+0))'), name);
  const child = spawn('sh', ['-c', shell], { cwd: data, stdio: ['ignore', 'ignore', 'ignore'] });
  const [code] = (await once(child, 'close')) as [number | null];
  expect(readdirSync(join(data, 'pg_wal')).filter((file) => file !== 'RECOVERYXLOG')).toEqual([]);
  return code;
}

async function archive(numbers: readonly bigint[] = [5n]): Promise<Repository> {
  const repository = await memoryRepository();
  await repository.open({ create: true });
  for (const number of numbers) {
    const { name, bytes } = walSegment(number);
    await repository.wal(SYSTEM_ID).push(name, { bytes });
  }
  return repository;
}

/** A server that is none of ours, and how often it was asked. */
async function strange(listener: RequestListener): Promise<{ readonly url: string; asked: number }> {
  const state = { url: '', asked: 0 };
  const server = createServer((request, response) => {
    state.asked++;
    listener(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  later(server, (each) => {
    each.closeAllConnections();
    each.close();
  });
  return Object.assign(state, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

test('both commands name no secret, survive the quoting of PostgreSQL, and use only %f and %p', () => {
  const all = {
    url: 'https://archive:8732',
    cluster: 'main',
    systemId: SYSTEM_ID,
    tokenFile: '/etc/a b/100%',
    ca: "/etc/c'a",
  };
  for (const make of [curlClientCommand, pgarkClientCommand]) {
    const text = make({ ...all, certificate: '/etc/c', key: '/etc/k' });
    expect(text.split('\n').length).toBe(1);
    expect(
      [...text.matchAll(/%(.)/g)].map(([, letter]) => letter).filter((letter) => !'fp%'.includes(letter ?? '')),
    ).toEqual([]);
    expect(settingValue(text)).toMatch(/^'.*'$/);
    expect(replaced(text, NAME)).toContain('100%');
    expect(spawnSync('sh', ['-n', '-c', replaced(text, NAME)]).status).toBe(0);
  }
});

describe.skipIf(NO_CURL)('curl', () => {
  test('exits with 0 and the file, or 1 when the server says that there is none, and leaves nothing else', async () => {
    const { url } = await serving({ repositories: [await archive()] });
    expect(await run(command({ url }))).toBe(0);
    expect(readFileSync(placed()).equals(BYTES)).toBe(true);
    rmSync(placed());
    expect(await run(command({ url }), '00000002.history')).toBe(1);
    expect(await run(command({ url }), walSegment(6n).name)).toBe(1);
    expect(existsSync(placed())).toBe(false);
  });

  test('H-25 one that the server has given up does not put its file over that of a later one', async () => {
    let release = (): void => undefined;
    const slow = await strange((_, response) => {
      response.writeHead(200, { ...TYPE, 'Content-Length': BYTES.byteLength });
      response.write(BYTES.subarray(0, 5000));
      release = () => void response.end(BYTES.subarray(5000));
    });
    const orphan = spawn('sh', ['-c', replaced(command({ url: slow.url }), NAME)], { cwd: data, stdio: 'ignore' });
    await vi.waitUntil(() => slow.asked === 1 && readdirSync(join(data, 'pg_wal')).some((file) => file.endsWith('.1')));
    const later = walSegment(6n, { fill: 9 });
    const repository = await archive();
    await repository.wal(SYSTEM_ID).push(later.name, { bytes: later.bytes });
    expect(await run(command({ url: (await serving({ repositories: [repository] })).url }), later.name)).toBe(0);
    const ended = once(orphan, 'close');
    release();
    expect(await ended).toEqual([255, null]);
    expect(readFileSync(placed()).equals(later.bytes)).toBe(true);
    expect(readdirSync(join(data, 'pg_wal'))).toEqual(['RECOVERYXLOG']);
  });

  test('H-20 a hole, a wrong token and a token that is not there are no end', async () => {
    const { url } = await serving({ repositories: [await archive([5n, 7n])] });
    expect(await run(command({ url }), walSegment(6n).name)).toBe(255);
    writeFileSync(tokenFile, `${TOKEN}x`);
    expect(await run(command({ url }))).toBe(255);
    rmSync(tokenFile);
    expect(await run(command({ url }), '00000002.history')).toBe(255);
    writeFileSync(tokenFile, TOKEN);
    expect(await run(command({ url, cluster: 'other' }), '00000002.history')).toBe(255);
  });

  const missing = `pgark: no such WAL file: main/${SYSTEM_ID}/${NAME}\n`;
  test.each<[string, RequestListener]>([
    ['a 404 of another server', (_, response) => response.writeHead(404).end('Not Found')],
    ['an empty 404', (_, response) => response.writeHead(404).end()],
    ['a 404 for another file', (_, response) => response.writeHead(404).end(missing.replace(NAME, '00000002.history'))],
    ['a 404 with more words', (_, response) => response.writeHead(404).end(`${missing}x`)],
    ['our words with another status', (_, response) => response.writeHead(500).end(missing)],
    ['a redirect', (_, response) => response.writeHead(302, { Location: `/elsewhere` }).end()],
    ['401', (_, response) => response.writeHead(401).end()],
    ['403', (_, response) => response.writeHead(403).end()],
    ['500', (_, response) => response.writeHead(500).end()],
    ['503', (_, response) => response.writeHead(503).end()],
    ['200 and nothing', (_, response) => response.writeHead(200, { ...TYPE, 'Content-Length': 0 }).end()],
    ['the page of a proxy', (_, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>')],
    ['200 without a type', (_, response) => response.writeHead(200, { 'Content-Length': BYTES.byteLength }).end(BYTES)],
    ['the end of the connection', ({ socket }) => socket.destroy()],
    ['no HTTP', ({ socket }) => socket.end('SSH-2.0-x\r\n')],
    [
      'half of what it announced',
      (_, response) => {
        response.writeHead(200, { ...TYPE, 'Content-Length': BYTES.byteLength });
        response.write(BYTES.subarray(0, 500_000), () => response.destroy());
      },
    ],
    [
      'chunks that break off',
      (_, response) => {
        response.writeHead(200, TYPE);
        response.write(BYTES.subarray(0, 500_000), () => response.destroy());
      },
    ],
  ])(
    'H-20 H-25 %s is neither a file nor the end: 255, 2 on a standby, and an older file there stays',
    async (_, listener) => {
      const { url } = await strange(listener);
      writeFileSync(placed(), 'older');
      expect(await run(command({ url }))).toBe(255);
      writeFileSync(join(data, 'standby.signal'), '');
      expect(await run(command({ url }))).toBe(2);
      expect(readFileSync(placed(), 'utf8')).toBe('older');
    },
  );

  test('H-20 a server that is not there, and a curl that is not there, are no end', async () => {
    expect(await run(command({ url: `http://127.0.0.1:${await freePort()}` }))).toBe(255);
    expect(await run(command({ url: 'http://127.0.0.1:1' }).replaceAll('curl -q', 'no-such-curl -q'))).toBe(255);
  });

  test('a recovery asks again when the server could not look, or the file broke off; a standby does not', async () => {
    const faults: RequestListener[] = [
      (_, response) => response.writeHead(503).end('later\n'),
      (_, response) => {
        response.writeHead(200, { ...TYPE, 'Content-Length': BYTES.byteLength });
        response.write(BYTES.subarray(0, 500_000), () => response.destroy());
      },
    ];
    const waiting = [...faults];
    const server = await strange((request, response) => {
      const fault = waiting.shift();
      if (fault !== undefined) fault(request, response);
      else response.writeHead(200, { ...TYPE, 'Content-Length': BYTES.byteLength }).end(BYTES);
    });
    expect(await run(command(server), NAME, { patient: true })).toBe(0);
    expect(server.asked).toBe(3);
    expect(readFileSync(placed()).equals(BYTES)).toBe(true);
    waiting.push(...faults);
    writeFileSync(join(data, 'standby.signal'), '');
    expect(await run(command(server), NAME, { patient: true })).toBe(2);
    expect(server.asked).toBe(4);
  });

  test('a proxy of the environment is not asked, and a redirect is not followed', async () => {
    const elsewhere = await strange((_, response) => response.writeHead(200, TYPE).end('elsewhere'));
    const server = await strange((_, response) => response.writeHead(302, { Location: elsewhere.url }).end());
    const proxied = `export http_proxy=${elsewhere.url} all_proxy=${elsewhere.url}; ${command(server)}`;
    expect(await run(proxied)).toBe(255);
    expect([server.asked, elsewhere.asked]).toEqual([1, 0]);
  });

  test('over TLS: the CA is needed, a client certificate will do for the token', async () => {
    const authority = new CertificateAuthority(data, 'ca');
    const certificate = authority.issue('server', { alternative: 'DNS:localhost' });
    const client = authority.issue('client');
    const { url } = await serving({
      repositories: [await archive()],
      config: { ...SERVE_DEFAULTS, tls: { ...certificate, clientCa: authority.root } },
    });
    const named = url.replace('127.0.0.1', 'localhost');
    const ca = authority.root;
    expect(await run(command({ url: named, ca }))).toBe(0);
    rmSync(placed());
    const { tokenFile: _, ...bare } = { tokenFile, url: named, cluster: 'main', systemId: SYSTEM_ID, ca };
    expect(await run(curlClientCommand({ ...bare, ...client }))).toBe(0);
    expect(await run(curlClientCommand(bare), '00000002.history')).toBe(255);
    expect(await run(curlClientCommand({ ...bare, ...client }), '00000002.history')).toBe(1);
    expect(await run(command({ url: named }), '00000002.history')).toBe(255);
    expect(await run(command({ url, ca }), '00000002.history')).toBe(255); // the certificate is not for this name
  });

  test('H-64 the token is in no list of processes', async () => {
    let seen = '';
    const server = await strange((_, response) => {
      seen = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
      response.writeHead(500).end();
    });
    expect(await run(command(server))).toBe(255);
    expect(seen).toContain('/wal/'); // curl is there
    expect(seen).not.toContain(TOKEN);
  });
});
