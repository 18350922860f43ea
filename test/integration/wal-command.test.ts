/** wal-push and wal-fetch where other programs use them. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { RunningAgent } from '../support/agent.ts';
import { TestArchive } from '../support/archive.ts';
import { CLI } from '../support/cli.ts';
import { PostgresServer } from '../support/postgres.ts';
import { archiveCommand } from '../support/restoring.ts';
import { destroyStandby, promote, startStandby } from '../support/standby.ts';
import { MISSING, runTool, tool } from '../support/tools.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

/** `15.18` of a `postgres` program. */
function versionOf(program: string): string {
  return /\d+\.\d+/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[0] ?? '';
}

test.skipIf(tool('pg_rewind') === undefined).each([{ through: 'the command' }, { through: 'the agent' }])(
  `H-24 pg_rewind fetches the WAL that it reads backwards through $through, and finds nothing of ours in pg_wal (${MISSING})`,
  async ({ through }) => {
    const primary = await PostgresServer.create({
      major: 15,
      settings: { max_wal_size: '32MB', min_wal_size: '32MB', wal_recycle: 'off' },
    });
    cleanup.push(() => primary.destroy());
    const archive = new TestArchive(primary);
    cleanup.push(() => archive.destroy());
    const agent = through === 'the agent' ? await RunningAgent.start(archive) : undefined;
    cleanup.push(() => agent?.destroy());
    primary.configure({
      archive_mode: 'on',
      archive_command: archiveCommand(archive),
      restore_command: `${CLI.join(' ')} --config ${archive.config} wal-fetch "%f" "%p"`,
    });
    const standby = await startStandby(primary);
    cleanup.push(() => destroyStandby(standby));
    await archive.backup(); // makes the archive, into which segments then go
    await primary.query('CREATE TABLE numbers AS SELECT 1 AS n');
    const lsn = await primary.value('SELECT pg_current_wal_flush_lsn()');
    while ((await standby.value(`SELECT pg_last_wal_replay_lsn() >= '${lsn}'`)) !== 'true') await sleep(20);
    await promote(standby);
    // Before its first checkpoint the promoted server shows its old timeline, and pg_rewind has nothing to do.
    await standby.query('CHECKPOINT');
    // The former primary goes on alone, and removes the segments from before the fork.
    for (const number of [10, 20, 30]) {
      await primary.query(`INSERT INTO numbers VALUES (${number})`);
      await archive.switchWal(primary);
      await primary.query('CHECKPOINT');
    }
    await primary.stop();
    const wal = join(primary.data, 'pg_wal');
    const forked = readdirSync(wal).filter((name) => /^[0-9A-F]{24}$/.test(name));
    expect(forked).not.toContain('000000010000000000000001');
    for (const name of forked.slice(0, -1)) rmSync(join(wal, name));
    expect(await standby.value('SELECT count(*) FROM numbers')).toBe('1');

    const args = [
      '--target-pgdata',
      primary.data,
      '--source-server',
      standby.url(),
      '--restore-target-wal',
      '--no-sync',
    ];
    const log = runTool('pg_rewind', [...args, '--config-file', join(primary.data, 'postgresql.conf')]);
    expect(log).toBeDefined();
    if (agent !== undefined) expect(agent.answered('wal-fetch').length).toBeGreaterThan(1);
    expect(readdirSync(wal).filter((name) => /pgark|fetch/.test(name))).toEqual([]);
    expect(existsSync(join(primary.data, 'backup_label'))).toBe(true);
    expect(versionOf(join(tool('pg_rewind') ?? '', '..', 'postgres'))).toMatch(/^15\./);
  },
);
