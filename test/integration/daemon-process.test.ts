/** `pgark run` as a process: signals, what it tells systemd, and how it ends. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConfigValue, RepositoryValue } from '../../core/src/config/load.ts';
import { spawnCli, type CliChild } from '../support/cli.ts';
import { TestArchive } from '../support/archive.ts';
import { ledger, Writers } from '../support/load.ts';
import { flushedAll } from '../support/receiving.ts';
import { restoredAlone } from '../support/restoring.ts';
import { until } from '../support/until.ts';
import { sectionFor } from '../support/daemon.ts';
import { later } from '../support/later.ts';
import { missingForNotify, notifySocket } from '../support/notify-socket.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start({ major: 18, segmentMegabytes: 1 });
});
afterAll(() => server.destroy());

const noNotify = missingForNotify();

/** Starts `pgark run` with a config file in a folder of its own. */
function runDaemon(
  sections: (folder: string) => Readonly<Record<string, ConfigValue>>,
  env: Readonly<Record<string, string>> = {},
  before: (folder: string) => void = () => undefined,
  daemon: object = {},
): {
  readonly child: CliChild;
  readonly write: (clusters: object, daemon?: object) => void;
  readonly folder: string;
  readonly clusters: Readonly<Record<string, ConfigValue>>;
} {
  const folder = later(temporaryFolder('run'), removeFolder);
  const file = join(folder, 'pgark.json');
  const write = (clusters: object, daemon: object = {}): void =>
    writeFileSync(file, JSON.stringify({ clusters, daemon: { listen: 'off', ...daemon } }));
  const clusters = sections(folder);
  write(clusters, daemon);
  before(folder);
  const child = later(spawnCli(['--config', file, 'run'], { env }), async (one) => {
    one.kill('SIGKILL');
    await one.ended;
  });
  return { child, write, folder, clusters };
}

test.skipIf(noNotify !== undefined)(
  `systemd is told of start, reload, life and end (${noNotify ?? 'all there'})`,
  async () => {
    const socket = await notifySocket();
    const { child, write, clusters } = runDaemon((folder) => ({ main: sectionFor(folder, 'main', server.url()) }), {
      NOTIFY_SOCKET: socket.path,
      WATCHDOG_USEC: '3000000',
    });
    const ready = await socket.waitFor(/^READY=1/);
    expect(ready).toBe('READY=1\tSTATUS=1 of 1 cluster streaming');
    await socket.waitFor(/^WATCHDOG=1$/);

    let before = socket.messages.length;
    const now = process.hrtime.bigint();
    child.kill('SIGHUP');
    const reloading = await socket.waitFor(/^RELOADING=1/, before);
    const clock = BigInt(/MONOTONIC_USEC=(\d+)/.exec(reloading)?.[1] ?? 0) * 1000n;
    expect(clock - now).toBeGreaterThan(0n);
    expect(clock - now).toBeLessThan(60_000_000_000n);
    expect(await socket.waitFor(/^READY=1/, before)).toBe('READY=1\tSTATUS=1 of 1 cluster streaming');

    before = socket.messages.length;
    write({ ...clusters, wrong: { nonsense: 1 } });
    child.kill('SIGHUP');
    expect(await socket.waitFor(/^READY=1/, before)).toMatch(/the config stays as it was: .*nonsense/);
    expect(child.stderr()).toMatch(/error: the config stays as it was/);

    before = socket.messages.length;
    child.kill('SIGTERM');
    expect((await child.ended).code).toBe(0);
    await socket.waitFor(/^STOPPING=1/, before);
    await socket.waitFor(/^EXTEND_TIMEOUT_USEC=\d+$/, before);
  },
);

const noStrace = spawnSync('strace', ['-V']).status === 0 ? undefined : 'strace is not installed';

test.skipIf(noNotify !== undefined || noStrace !== undefined)(
  `a receiving thread that stands still stops the signs of life (${noNotify ?? noStrace ?? 'all there'})`,
  async () => {
    const socket = await notifySocket();
    const { child } = runDaemon((folder) => ({ main: sectionFor(folder, 'main', server.url()) }), {
      NOTIFY_SOCKET: socket.path,
      WATCHDOG_USEC: '6000000',
    });
    await socket.waitFor(/^READY=1/);
    await socket.waitFor(/^WATCHDOG=1$/);
    // Its disk hangs: the next flush takes a minute.
    const hang = spawn('strace', [
      '-f',
      '-q',
      '-o',
      '/dev/null',
      '-e',
      'inject=fdatasync:delay_enter=60000000',
      '-p',
      String(child.pid),
    ]);
    later(hang, (one) => one.kill('SIGKILL'));
    let told = '';
    hang.stderr.on('data', (text: Buffer) => (told += text.toString()));
    await until(
      'strace is there',
      () => readFileSync(`/proc/${child.pid}/status`, 'utf8').includes(`TracerPid:\t${hang.pid}`),
      () => told,
    );
    await server.query("SELECT pg_logical_emit_message(true, 'test', 'something to flush')");
    await child.waitFor(/the receiver of main stands still/);
    const before = socket.messages.length;
    await sleep(4000); // two turns of the watchdog
    expect(socket.messages.slice(before)).toEqual([]);
    hang.kill('SIGINT'); // it lets the process go
    await once(hang, 'exit');
    await socket.waitFor(/^WATCHDOG=1$/, before);
  },
);

test('asked to stop under load, it has shipped every commit that was acknowledged', async () => {
  const own = later(await PostgresServer.start({ major: 17, segmentMegabytes: 1 }), (one) => one.destroy());
  const archive = later(
    new TestArchive(own, { receive: { tail: '1s' }, config: { daemon: { listen: 'off' } } }),
    (one) => one.destroy(),
  );
  const child = archive.start(['run']);
  await child.waitFor(/1 of 1 cluster streaming/);
  await archive.backup();
  await own.query(`ALTER SYSTEM SET synchronous_standby_names = 'pgark'`);
  await own.query('SELECT pg_reload_conf()');
  const writers = await Writers.start(own);
  await until('commits', () => writers.total > 500);
  child.kill('SIGTERM');
  const result = await child.ended;
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).not.toMatch(/unshipped=[1-9]|files stay in the spool/);
  // Nobody acknowledges any more: sessions hang in their commit, and what they were told is final.
  const acknowledged = writers.acknowledged;
  await own.kill();
  await writers.stop();
  const clone = await restoredAlone(archive, own);
  const found = await ledger(clone);
  expect(found.holes).toBe(0);
  found.last.forEach((last, session) => expect(last).toBeGreaterThanOrEqual(acknowledged[session] ?? 0));
});

test('a storage that is away at the start, and at the end: WAL stays in the spool, and that is said', async () => {
  const { child, folder } = runDaemon(
    (at) => ({ main: sectionFor(at, 'main', server.url()) }),
    {},
    (at) => rmSync(join(at, 'main.repository'), { recursive: true }),
  );
  await child.waitFor(/0 of 1 cluster streaming; main: STORAGE_MISCONFIGURED/);
  mkdirSync(join(folder, 'main.repository'));
  child.kill('SIGHUP'); // it would try by itself, but later
  await child.waitFor(/streaming timeline 1/);
  const spool = join(folder, 'spool', 'main');
  const waiting = (): readonly string[] =>
    readdirSync(spool, { recursive: true, encoding: 'utf8' }).filter((name) => /[0-9A-F]{24}$/.test(name));
  await server.query("SELECT pg_logical_emit_message(true, 'test', 'something to ship')");
  await server.query('SELECT pg_switch_wal()');
  await until(
    'it is shipped',
    () => existsSync(join(folder, 'main.repository', 'main')) && waiting().length === 0,
    child.stderr,
  );

  rmSync(join(folder, 'main.repository'), { recursive: true });
  await server.query("SELECT pg_logical_emit_message(true, 'test', 'something that stays')");
  await server.query('SELECT pg_switch_wal()');
  await until('a file waits', () => waiting().length > 0);
  child.kill('SIGTERM');
  const result = await child.ended;
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).toMatch(/files stay in the spool; the next run ships them \(unshipped=\d/);
  expect(waiting().length).toBeGreaterThan(0);
});

test('the end waits for what is to be shipped, within its time; a second signal ends at once', async () => {
  const slow = (folder: string): Readonly<Record<string, ConfigValue>> => {
    const section = sectionFor(folder, 'main', server.url());
    const [repository] = section.repositories ?? [];
    return { main: { ...section, repositories: [{ ...repository, maxUploadRate: '100kB' } as RepositoryValue] } };
  };
  const { child, write, folder, clusters } = runDaemon(slow);
  await child.waitFor(/1 of 1 cluster streaming/);
  await server.query("SELECT pg_logical_emit_message(true, 'test', repeat('x', 20000000))");
  const spool = join(folder, 'spool', 'main');
  const waiting = (): number =>
    readdirSync(spool, { recursive: true, encoding: 'utf8' }).filter((name) => /[0-9A-F]{24}$/.test(name)).length;
  await until('files wait', () => waiting() > 15);
  child.kill('SIGTERM');
  await child.waitFor(/stopping: WAL that was received is shipped within 60 s/);
  await sleep(2000);
  expect(child.child.exitCode).toBe(null);
  child.kill('SIGTERM');
  expect((await child.ended).code).toBe(143);
  expect(waiting()).toBeGreaterThan(0);

  write(clusters, { drain: '1s' });
  const again = later(spawnCli(['--config', join(folder, 'pgark.json'), 'run']), async (one) => {
    one.kill('SIGKILL');
    await one.ended;
  });
  await again.waitFor(/1 of 1 cluster streaming/);
  again.kill('SIGINT');
  const result = await again.ended;
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).toMatch(/files stay in the spool; the next run ships them \(unshipped=\d+\)/);
});

test('faults that nobody catches, and an address that is taken, end no receiver', async () => {
  const taken = later(createServer().listen(0, '127.0.0.1'), (one) => one.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const { child } = runDaemon(
    (folder) => {
      writeFileSync(
        join(folder, 'faulty.mjs'),
        `export default { name: 'faulty', kind: 'hook', apiVersion: 1,
           options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
           create: async () => {
             setTimeout(() => { throw new Error('thrown by a timer'); }, 10);
             void Promise.reject(new Error('a promise that nobody waits for'));
             return { handle: async () => undefined, close: async () => undefined };
           } };\n`,
      );
      return { main: { ...sectionFor(folder, 'main', server.url()), hooks: [{ use: './faulty.mjs' }] } };
    },
    {},
    () => undefined,
    { listen: `127.0.0.1:${port}` },
  );
  await child.waitFor(/a fault of pgark or of a plugin, which goes on: .*thrown by a timer/);
  await child.waitFor(/a fault of pgark or of a plugin, which goes on: .*a promise that nobody waits for/);
  await child.waitFor(/nobody is answered over HTTP/);
  await child.waitFor(/1 of 1 cluster streaming/);
  await server.query("SELECT pg_logical_emit_message(true, 'test', 'after the faults')");
  await flushedAll(server);
  taken.close();
  await child.waitFor(/listening at http/);
  expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
  child.kill('SIGTERM');
  expect((await child.ended).code).toBe(0);
});
