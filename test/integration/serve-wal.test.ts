/** Recoveries of hosts that have no access to the storage: WAL from `pgark serve`, over HTTPS with a CA of our own. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { CertificateAuthority, type CertificateFiles } from '../support/certificates.ts';
import { CLI, spawnCli, type CliChild } from '../support/cli.ts';
import { freePort } from '../support/free-port.ts';
import { giveToServer, PostgresServer } from '../support/postgres.ts';
import { dropSetting, restored, startAndPromote } from '../support/restoring.ts';
import { until } from '../support/until.ts';

const MAJOR = 17;
const ROWS = '1 2 3 4 5';
const NO_CURL = spawnSync('curl', ['--version']).status !== 0;
const always: (() => unknown)[] = [];
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});
afterAll(async () => {
  for (const undo of always.splice(0).toReversed()) await undo();
});

let archive: TestArchive;
let authority: CertificateAuthority;
let port = 0;
/** Whole segments after the backup, each with a row; the last row is only in the newest segment, of which the spool has a part. */
const segments: string[] = [];

beforeAll(async () => {
  const server = await PostgresServer.start({ major: MAJOR });
  always.push(() => server.destroy());
  port = await freePort();
  archive = new TestArchive(server, {
    config: {
      serve: {
        listen: `127.0.0.1:${port}`,
        token: { file: 'token' },
        tls: { certificate: 'server.crt', key: 'server.key' },
      },
      log: { level: 'debug' },
    },
  });
  always.push(() => archive.destroy());
  authority = new CertificateAuthority(archive.folder, 'ca');
  const certificate: CertificateFiles = authority.issue('server', { alternative: 'IP:127.0.0.1', server: true });
  renameSync(certificate.certificate, join(archive.folder, 'server.crt'));
  renameSync(certificate.key, join(archive.folder, 'server.key'));
  for (const file of ['token', 'wrong-token']) {
    writeFileSync(join(archive.folder, file), `${file}-of-some-length\n`, { mode: 0o600 });
    giveToServer(join(archive.folder, file));
  }

  const receiver = await archive.receive(server);
  await server.query('CREATE TABLE numbers (n int)');
  await archive.backup();
  for (const number of [1, 2, 3, 4]) {
    await server.query(`INSERT INTO numbers VALUES (${number})`);
    segments.push(await archive.switchWal(server));
  }
  await server.query('INSERT INTO numbers VALUES (5)');
  const lsn = await server.value('SELECT pg_current_wal_flush_lsn()');
  await until('the last row is in the spool', async () => {
    const behind = `SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= '${lsn}'`;
    return (await server.value(behind)) !== '0';
  });
  await server.kill();
  await receiver.stop();
});

async function serve(): Promise<CliChild> {
  const cli = spawnCli(['--config', archive.config, 'serve'], { ...serverUser() });
  cleanup.push(() => cli.kill('SIGKILL'));
  await cli.waitFor(/serving WAL at https:/);
  return cli;
}

type Client = 'curl' | 'pgark';

/** The command as it is printed; a failure is not tried for a minute, and pgark is run from source. */
async function clientCommand(client: Client, file = 'token'): Promise<string> {
  const where = ['--ca', authority.root, '--token-file', join(archive.folder, file)];
  const text = await archive.run(['serve', '--print-restore-command', client, ...where]);
  expect(text).not.toContain('of-some-length');
  return client === 'curl'
    ? text.replace('+60))', '+0))')
    : text.replace('pgark wal-fetch', `${CLI.join(' ')} wal-fetch --retry 1s`);
}

/** Restores a backup, and lets the clone ask the server alone. */
async function clone(name: string, command: string, args: readonly string[] = []): Promise<PostgresServer> {
  const opened = await restored(archive, MAJOR, name, args);
  cleanup.push(async () => {
    await opened.destroy();
    rmSync(opened.data, { recursive: true, force: true });
  });
  dropSetting(opened.data, 'restore_command');
  appendFileSync(join(opened.data, 'postgresql.auto.conf'), command);
  return opened;
}

const rows = async (of: PostgresServer): Promise<string> =>
  of.value(`SELECT coalesce(string_agg(n::text, ' ' ORDER BY n), '') FROM numbers`);

/** The path of the stored object of a segment. */
function objectOf(name: string): string {
  const folder = join(archive.systemFolder, 'wal', name.slice(0, 8), name.slice(8, 16));
  return join(folder, readdirSync(folder).find((file) => file.startsWith(`${name}-`)) ?? '');
}

/** Starts a recovery that must stop, and shows that the cluster was not promoted. */
async function recoveryStops(stopping: PostgresServer): Promise<void> {
  await stopping.start({ wait: 'spawned' });
  expect(await stopping.exited()).not.toBe(0);
  await until('the log', () => stopping.log.includes('FATAL'));
  expect(stopping.log).toMatch(/could not restore file "[^"]+" from archive: child process exited with exit code 255/);
  expect(stopping.log).not.toContain('selected new timeline ID');
  expect(existsSync(join(stopping.data, 'recovery.signal'))).toBe(true);
  expect(existsSync(join(stopping.data, 'pg_wal', '00000002.history'))).toBe(false);
}

describe.each<Client>(['curl', 'pgark'])('through %s', (client) => {
  const skip = client === 'curl' && NO_CURL;

  test.skipIf(skip)('a recovery reaches all data, the newest segment too', async () => {
    const server = await serve();
    const opened = await clone(`whole-${client}`, await clientCommand(client));
    await startAndPromote(opened);
    expect(await rows(opened)).toBe(ROWS);
    for (const segment of segments) expect(server.stderr()).toMatch(new RegExp(`sent \\(file=${segment} `));
    expect(readdirSync(join(opened.data, 'pg_wal')).filter((name) => /pgark|fetch/.test(name))).toEqual([]);
  });

  test.skipIf(skip)(
    'H-20 H-27 a recovery whose storage fails in the middle stops, is not promoted, and completes when it is healed',
    async () => {
      const server = await serve();
      const opened = await clone(`stopped-${client}`, await clientCommand(client));
      const object = objectOf(segments[2] ?? '');
      chmodSync(object, 0);
      try {
        await recoveryStops(opened);
      } finally {
        chmodSync(object, 0o600);
      }
      // It was in the middle: there was something before, and it failed at this one.
      expect(server.stderr()).toContain(`sent (file=${segments[1]} `);
      expect(server.stderr()).toMatch(new RegExp(`warn: .*target=\\S*${segments[2]}`));
      await startAndPromote(opened);
      expect(await rows(opened)).toBe(ROWS);
    },
  );

  test.skipIf(skip)(
    'H-20 H-27 a recovery comes to no end at a hole, without a server, or with a wrong token',
    async () => {
      const right = await clientCommand(client);
      const opened = await clone(`no-end-${client}`, right);
      await recoveryStops(opened); // there is no server
      const server = await serve();
      rmSync(join(opened.folder, 'log'));
      dropSetting(opened.data, 'restore_command');
      appendFileSync(join(opened.data, 'postgresql.auto.conf'), await clientCommand(client, 'wrong-token'));
      await recoveryStops(opened);
      expect(server.stderr()).toContain('without valid credentials');
      rmSync(join(opened.folder, 'log'));
      dropSetting(opened.data, 'restore_command');
      appendFileSync(join(opened.data, 'postgresql.auto.conf'), right);
      const object = objectOf(segments[1] ?? '');
      renameSync(object, join(archive.folder, 'lost'));
      try {
        await recoveryStops(opened);
      } finally {
        renameSync(join(archive.folder, 'lost'), object);
      }
      expect(server.stderr()).toContain('code=WAL_GAP');
      await startAndPromote(opened);
      expect(await rows(opened)).toBe(ROWS);
    },
  );

  test.skipIf(skip)('H-20 a standby outlives a server that is away, and goes on when it is back', async () => {
    const standby = await clone(`standby-${client}`, await clientCommand(client), ['--standby']);
    await standby.start({ wait: 'spawned' });
    await until('a log', () => existsSync(join(standby.folder, 'log')));
    // Whatever it is told, it asks again; the log of PostgreSQL shows only what the client wrote.
    await until(
      'refused requests',
      () => (standby.log.match(/Connection refused|ECONNREFUSED|curl: \(7\)/g)?.length ?? 0) > 2,
      () => standby.log,
    );
    expect(standby.running).toBe(true);
    await serve();
    await until(
      'all rows',
      async () => (await rows(standby).catch(() => '')) === ROWS,
      () => standby.log,
    );
    expect(await standby.value('SELECT pg_is_in_recovery()')).toBe('true');
  });
});

test.skipIf(NO_CURL)(
  "H-20 with a curl --fail of one's own the same fault promotes a cluster that lacks rows",
  async () => {
    await serve();
    const header = join(archive.folder, 'header');
    writeFileSync(header, 'Authorization: Bearer token-of-some-length\n', { mode: 0o600 });
    giveToServer(header);
    const systemId = basename(archive.systemFolder);
    const url = `https://127.0.0.1:${port}/v1/main/${systemId}/wal/%f`;
    const naive = `curl --fail --silent --cacert ${authority.root} --header @${header} --output "%p" ${url}`;
    const opened = await clone('naive', `restore_command = '${naive}'\n`);
    const object = objectOf(segments[2] ?? '');
    chmodSync(object, 0);
    try {
      await startAndPromote(opened);
    } finally {
      chmodSync(object, 0o600);
    }
    expect(await rows(opened)).toBe('1 2');
  },
);
