/** `pgark check` against real servers, in order and in trouble. */
import { rmSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import type { Finding } from '../../core/src/check/finding.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, type CliResult } from '../support/cli.ts';
import { PostgresServer, type Major } from '../support/postgres.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

async function serverWith(major: Major, settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
  const server = await PostgresServer.start({ major, settings });
  cleanup.push(() => server.destroy());
  return server;
}

function archiveOf(server: PostgresServer, config: Readonly<Record<string, unknown>> = {}): TestArchive {
  const archive = new TestArchive(server, { config });
  cleanup.push(() => archive.destroy());
  return archive;
}

const check = (archive: TestArchive, ...args: readonly string[]): Promise<CliResult> =>
  runCli(['--config', archive.config, ...args, 'check'], { ...serverUser() });

async function findings(
  archive: TestArchive,
): Promise<{ readonly code: number | undefined; readonly of: (name: string) => Finding }> {
  const result = await check(archive, '--json');
  const { findings: found } = JSON.parse(result.stdout) as { findings: readonly Finding[] };
  return {
    code: result.code,
    of: (name) => {
      const finding = found.find((one) => one.check === name);
      if (finding === undefined) throw new Error(`no finding "${name}":\n${result.stdout}\n${result.stderr}`);
      return finding;
    },
  };
}

describe('pgark check', () => {
  for (const major of [15, 18] as const) {
    test(`a server and a storage in order, on PostgreSQL ${major}; nothing is left behind`, async () => {
      const server = await serverWith(major, { max_slot_wal_keep_size: '1GB', fsync: 'on', full_page_writes: 'on' });
      const archive = archiveOf(server);
      const before = await check(archive);
      expect(before.stdout).not.toContain('failed');
      expect(before.code, before.stderr).toBe(0);
      expect(before.stdout).toContain('holds nothing of cluster "main" yet');
      const receiver = await archive.receive(server);
      await archive.backup();
      const { code, of } = await findings(archive);
      expect(code).toBe(0);
      expect(of('slot')).toMatchObject({ state: 'ok', message: 'slot "pgark" is in use' });
      expect(of('race')).toMatchObject({ state: 'ok' });
      expect(of('archive').message).toContain(await server.value('SELECT system_identifier FROM pg_control_system()'));
      await receiver.stop();
      expect(of('remove')).toMatchObject({ state: 'ok' });
      const after = await findings(archive);
      expect(after.of('slot')).toMatchObject({ state: 'warning' });
    });
  }

  test('doctor has nothing to mend where all is in order, and tells of the receiver', async () => {
    const server = await serverWith(17, { max_slot_wal_keep_size: '1GB', fsync: 'on', full_page_writes: 'on' });
    const archive = archiveOf(server);
    const receiver = await archive.receive(server);
    const { code, stdout, stderr } = await runCli(['--config', archive.config, 'doctor'], {
      ...serverUser(),
      env: { XDG_CACHE_HOME: archive.spool },
    });
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toMatch(/^ok +user +runs as /m);
    expect(stdout).toMatch(/^ok +receiver +running, "streaming" since /m);
    expect(stdout).toMatch(/^ok +slot +slot "pgark" is in use$/m);
    expect(stdout).toMatch(/^ok +server: clock +the clocks agree$/m);
    expect(stdout).toMatch(/\n0 failed, /);
    // With its password or without: an address is never shown.
    expect(stdout).toMatch(/^postgres\.url +\[redacted\] /m);
    await receiver.stop();
    await server.stop();
    const down = await runCli(['--config', archive.config, 'doctor', '--json'], { ...serverUser() });
    expect(down.code).toBe(1);
    expect(down.stdout).toContain('SERVER_UNREACHABLE');
  });

  test('a server that cannot be archived: each fault has its line and its hint, and the exit code says so', async () => {
    const server = await serverWith(17, {
      wal_level: 'minimal',
      max_wal_senders: '0',
      full_page_writes: 'off',
      archive_mode: 'off',
    });
    await server.query('CREATE ROLE reader LOGIN');
    const archive = archiveOf(server, { postgres: { url: server.url().replace('postgres@', 'reader@') } });
    const result = await check(archive);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('4 of 19 checks failed');
    for (const name of ['replication', 'wal_level', 'senders', 'durability'])
      expect(result.stdout).toMatch(new RegExp(`^failed +server: ${name} `, 'm'));
    expect(result.stdout).toContain('ALTER ROLE "reader" REPLICATION');
    expect(result.stdout).toMatch(/^ok +repository primary: race /m);
  });

  test('a slot that is of another kind, or lost, and the WAL of another system', async () => {
    const server = await serverWith(16, {
      wal_level: 'logical',
      max_slot_wal_keep_size: '1MB',
      max_wal_size: '32MB',
      min_wal_size: '32MB',
    });
    const archive = archiveOf(server);
    await server.query(`SELECT pg_create_logical_replication_slot('pgark', 'pgoutput')`);
    expect((await findings(archive)).of('slot')).toMatchObject({
      state: 'failed',
      message: 'slot "pgark" is a logical one',
    });
    await server.query(`SELECT pg_drop_replication_slot('pgark')`);
    await server.query(`SELECT pg_create_physical_replication_slot('pgark', true)`);
    await server.query('CREATE TABLE t AS SELECT 1');
    const lost = async (): Promise<boolean> =>
      (await server.value(`SELECT wal_status FROM pg_replication_slots`)) === 'lost';
    for (let tries = 0; !(await lost()) && tries < 30; tries++) {
      for (let at = 0; at < 3; at++) await server.query(`INSERT INTO t SELECT 1; SELECT pg_switch_wal()`);
      await server.query('CHECKPOINT');
    }
    expect(await lost(), 'the slot must have lost its WAL').toBe(true);
    expect((await findings(archive)).of('slot')).toMatchObject({
      state: 'failed',
      message: 'slot "pgark" has lost its WAL',
    });

    await server.query(`SELECT pg_drop_replication_slot('pgark')`);
    await server.query(`ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'`);
    await server.query('SELECT pg_reload_conf()');
    const receiver = await archive.receive(server);
    await archive.backup();
    await receiver.stop();
    const other = await serverWith(16);
    archive.connectTo(other);
    expect((await findings(archive)).of('archive')).toMatchObject({ state: 'warning' });
  });

  test('a server that is down and a storage that is not there are findings too, both', async () => {
    const server = await serverWith(15);
    const archive = archiveOf(server);
    await server.stop();
    rmSync(archive.folder + '/repository', { recursive: true });
    const config = { repositories: [{ storage: { use: 'fs', path: '/not/mounted/here' } }] };
    const lost = new TestArchive(server, { config });
    cleanup.push(() => lost.destroy());
    const result = await check(lost);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(/^failed +server: connection +SERVER_UNREACHABLE/m);
    expect(result.stdout).toMatch(/^failed +repository primary: archive +STORAGE_MISCONFIGURED/m);
  });
});
