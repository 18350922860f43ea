/** `pgark serve` and `pgark wal-fetch --from` as processes. */
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CertificateAuthority, type CertificateFiles } from '../../../test/support/certificates.ts';
import { runCli, spawnCli, type CliChild, type CliResult } from '../../../test/support/cli.ts';
import { freePort } from '../../../test/support/free-port.ts';
import { fsRepository } from '../../../test/support/fs-repository.ts';
import { later } from '../../../test/support/later.ts';
import { SYSTEM_ID, walSegment } from '../wal-command/segments.ts';

// Many processes, one after the other.
vi.setConfig({ testTimeout: 120_000 });

const TOKEN = 'a-token-of-some-length';
const { name: NAME, bytes: BYTES } = walSegment(5n);
let folder = '';
let config = '';
let authority: CertificateAuthority;
let certificate: CertificateFiles;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-serve-cli-'));
  config = join(folder, 'pgark.json');
  const repository = await fsRepository(join(folder, 'repository'));
  await repository.open({ create: true });
  await repository.wal(SYSTEM_ID).push(NAME, { bytes: BYTES });
  authority = new CertificateAuthority(folder, 'ca');
  certificate = authority.issue('server', { alternative: 'IP:127.0.0.1' });
  writeFileSync(join(folder, 'token'), `${TOKEN}\n`);
  mkdirSync(join(folder, 'data'));
  configure({});
});
afterEach(() => rmSync(folder, { recursive: true }));

function configure(serve: Readonly<Record<string, unknown>>): void {
  const content = {
    cluster: 'main',
    repositories: [{ storage: { use: 'fs', path: join(folder, 'repository') } }],
    receive: { spool: join(folder, 'spool') },
    serve: {
      listen: '127.0.0.1:0',
      token: { file: 'token' },
      tls: { certificate: 'server.crt', key: 'server.key' },
      ...serve,
    },
  };
  for (const kind of ['certificate', 'key'] as const)
    writeFileSync(join(folder, `server.${kind === 'key' ? 'key' : 'crt'}`), readFileSync(certificate[kind]));
  writeFileSync(config, JSON.stringify(content));
}

async function serve(): Promise<{ readonly cli: CliChild; readonly url: string }> {
  const cli = later(spawnCli(['--config', config, 'serve']), (each) => each.kill('SIGKILL'));
  const [, url = ''] = await cli.waitFor(/serving WAL at (\S+)/);
  return { cli, url };
}

/** In a data directory that is in recovery, unless told otherwise. */
async function fetch(
  url: string,
  name: string,
  args: readonly string[] = [],
  signalFile = 'recovery.signal',
): Promise<CliResult> {
  for (const each of ['recovery.signal', 'standby.signal']) rmSync(join(folder, 'data', each), { force: true });
  if (signalFile !== '') writeFileSync(join(folder, 'data', signalFile), '');
  const own = ['--from', `${url}/v1/main`, '--system-id', SYSTEM_ID, '--ca', authority.root, '--retry', '0s'];
  return runCli(['wal-fetch', name, 'placed', ...own, ...args], { cwd: join(folder, 'data') });
}

test('H-20 wal-fetch --from exits with 0, with 1 only for a verified miss, and else with 255 in a recovery, 2 on a standby', async () => {
  const { cli, url } = await serve();
  const token = ['--token-file', join(folder, 'token')];
  expect(await fetch(url, NAME, token)).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(join(folder, 'data', 'placed')).equals(BYTES)).toBe(true);
  expect(await fetch(url, '00000002.history', token)).toMatchObject({ code: 1, stderr: '' });
  const failures: readonly (readonly string[])[] = [
    [], // no token
    ['--token-file', join(folder, 'no-such-file')],
    [...token, '--ca', join(folder, 'no-such-file')],
    [...token, '--ca', certificate.key],
    [...token, '--repository', 'primary'],
    [...token, '--retry', 'nonsense'],
    [...token, '--system-id', '42'],
    [...token, '--from', `${url}/v1/other`],
    [...token, '--from', 'https://127.0.0.1:1/v1/main'],
    [...token, '--no-such-option'],
  ];
  for (const args of failures) {
    const result = await fetch(url, '00000002.history', args);
    expect([result.code, args.join(' ')]).toEqual([255, args.join(' ')]);
    expect(result.stderr).not.toContain(TOKEN);
  }
  expect(await fetch(url, '00000002.history', [], 'standby.signal')).toMatchObject({ code: 2 });
  expect(await fetch(url, '00000002.history', [], '')).toMatchObject({ code: 2 });
  cli.kill('SIGTERM');
  expect(await cli.ended).toMatchObject({ code: 0 });
  expect(await fetch(url, '00000002.history', token)).toMatchObject({ code: 255 });
  expect(cli.stderr() + cli.stdout()).not.toContain(TOKEN);
});

test('the token may come from the environment; the options of a server do not go without one', async () => {
  const { url } = await serve();
  const own = [
    '--from',
    `${url}/v1/main`,
    '--system-id',
    SYSTEM_ID,
    '--ca',
    authority.root,
    '--token-env',
    'WAL_TOKEN',
  ];
  const path = join(folder, 'data', 'placed');
  expect(await runCli(['wal-fetch', NAME, path, ...own], { env: { WAL_TOKEN: TOKEN } })).toMatchObject({ code: 0 });
  expect(await runCli(['wal-fetch', NAME, path, ...own])).toMatchObject({ code: 2 });
  const without = await runCli(['--config', config, 'wal-fetch', NAME, path, '--token-file', 'x']);
  expect(without).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--token-file goes with --from') as string,
  });
});

test('SIGTERM ends a wal-fetch that waits for the server with 143, as PostgreSQL wants it', async () => {
  const silent = later(createServer().listen(0, '127.0.0.1'), (server) => {
    server.closeAllConnections();
    server.close();
  });
  await once(silent, 'listening');
  const from = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/v1/main`;
  const asked = once(silent, 'request');
  const args = ['wal-fetch', NAME, 'placed', '--from', from, '--system-id', SYSTEM_ID];
  const cli = later(spawnCli(args, { cwd: join(folder, 'data') }), (each) => each.kill('SIGKILL'));
  await asked;
  cli.kill('SIGTERM');
  expect((await cli.ended).code).toBe(143);
  expect(existsSync(join(folder, 'data', 'placed'))).toBe(false);
});

test('serve refuses to listen for other hosts without TLS and credentials, and says what to set', async () => {
  configure({ listen: '0.0.0.0:0', tls: undefined });
  const plain = await runCli(['--config', config, 'serve']);
  expect(plain).toMatchObject({ code: 3, stderr: expect.stringMatching(/without TLS[^]*serve\.tls/) as string });
  configure({ listen: '0.0.0.0:0', token: undefined });
  const open = await runCli(['--config', config, 'serve']);
  expect(open).toMatchObject({ code: 3, stderr: expect.stringContaining('without credentials') as string });
});

test('SIGHUP takes a new token, and keeps the old one when it cannot be read', async () => {
  const { cli, url } = await serve();
  const next = join(folder, 'next');
  writeFileSync(next, 'another-token-of-some-length');
  writeFileSync(join(folder, 'token'), '');
  cli.kill('SIGHUP');
  await cli.waitFor(/stay as they were/);
  const old = join(folder, 'old');
  writeFileSync(old, TOKEN);
  expect(await fetch(url, NAME, ['--token-file', old])).toMatchObject({ code: 0 });
  writeFileSync(join(folder, 'token'), readFileSync(next));
  cli.kill('SIGHUP');
  await cli.waitFor(/were read anew/);
  expect(await fetch(url, NAME, ['--token-file', old])).toMatchObject({ code: 255 });
  expect(await fetch(url, NAME, ['--token-file', next])).toMatchObject({ code: 0 });
});

test('it prints the commands for other hosts', async () => {
  configure({ listen: `127.0.0.1:${await freePort()}` });
  const args = ['--config', config, 'serve', '--url', 'https://archive:8732', '--ca', '/etc/pgark/ca.crt'];
  const curl = await runCli([...args, '--print-restore-command', 'curl']);
  expect(curl).toMatchObject({ code: 0, stderr: '' });
  expect(curl.stdout).toMatch(/^restore_command = '.*https:\/\/archive:8732\/v1\/main\/\d+\/wal\/"%f".*'\n$/);
  expect(curl.stdout).toContain(SYSTEM_ID);
  const pgark = await runCli([...args, '--print-restore-command', 'pgark', '--token-file', '/run/token']);
  expect(pgark.stdout).toBe(
    `restore_command = 'pgark wal-fetch --from https://archive:8732/v1/main --system-id ${SYSTEM_ID} --token-file /run/token --ca /etc/pgark/ca.crt "%f" "%p"'\n`,
  );
  const json = await runCli(['--json', ...args, '--print-restore-command', 'pgark']);
  expect(JSON.parse(json.stdout)).toEqual({
    restoreCommand: expect.stringContaining('/etc/pgark/serve.token') as string,
  });
  configure({ listen: '0.0.0.0:8732' });
  const nowhere = await runCli(['--config', config, 'serve', '--print-restore-command', 'curl']);
  expect(nowhere).toMatchObject({ code: 3, stderr: expect.stringContaining('--url') as string });
  for (const { stdout } of [curl, pgark, json]) expect(stdout).not.toContain(TOKEN);
  expect(existsSync(join(folder, 'spool'))).toBe(false);
});
