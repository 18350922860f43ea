/** `pg_upgrade` under the same name: the new cluster has another system identifier, other positions, and begins with one backup. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { RetentionPolicy } from '../../core/src/retention/policy.ts';
import { planExpire } from '../../core/src/retention/expire.ts';
import { TestArchive } from '../support/archive.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { later } from '../support/later.ts';
import { PostgresServer, temporaryFolder, removeFolder } from '../support/postgres.ts';
import { restored, startAndPromote } from '../support/restoring.ts';
import { SCALE } from '../support/scale.ts';
import { MISSING, runTool, tool } from '../support/tools.ts';
import { until } from '../support/until.ts';

const DAY = 86_400_000;
const FOLDER = '/usr/lib/postgresql/15/bin';

interface Document {
  readonly backups: readonly { readonly id: string; readonly systemId: string; readonly action: string }[];
  readonly done?: { readonly removed: readonly string[] };
}

test.skipIf(tool('pg_upgrade') === undefined || SCALE !== 'full')(
  `H-70 after pg_upgrade nothing of the living cluster is removed, and the last of the old one stays (${MISSING}, PGARK_TEST_FULL=1)`,
  async () => {
    const old = later(await PostgresServer.start({ major: 15, segmentMegabytes: 1 }), (started) => started.destroy());
    const archive = later(new TestArchive(old, { config: { retention: { keep: 2 } } }), (made) => made.destroy());
    const receiver = later(await archive.receive(old), (started) => started.kill());
    await old.query('CREATE TABLE rows (n int)');
    const before: string[] = [];
    for (const row of [1, 2, 3]) {
      await old.query(`INSERT INTO rows VALUES (${row})`);
      before.push((await archive.backup()).id);
    }
    await archive.switchWal(old);
    const oldSystem = await old.value('SELECT system_identifier FROM pg_control_system()');
    await receiver.stop();
    await old.stop();

    const living = later(await PostgresServer.create({ major: 15, segmentMegabytes: 1 }), (made) => made.destroy());
    const logs = later(temporaryFolder('upgrade'), removeFolder);
    const folders = ['-b', FOLDER, '-B', FOLDER, '-d', old.data, '-D', living.data, '-s', logs];
    const ports = ['-p', String(old.port), '-P', String(living.port)];
    const said = runTool('pg_upgrade', [...folders, '-U', 'postgres', ...ports], logs);
    expect(said).toContain('Upgrade Complete');
    await living.start();
    const system = await living.value('SELECT system_identifier FROM pg_control_system()');
    expect(system).not.toBe(oldSystem);
    expect(await living.value('SELECT count(*) FROM rows')).toBe('3');

    archive.connectTo(living);
    const receiving = later(await archive.receive(living), (started) => started.kill());
    const begun = await archive.backup();
    const young = [begun.id];
    const begin = await living.value(`SELECT pg_walfile_name('${begun.startLsn}')`);
    // WAL from before the first backup leads nowhere, and may go.
    const filesOf = (): readonly string[] =>
      readdirSync(join(archive.repository, 'main', system), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(?:json|zst)$/.test(name) && !name.startsWith('leases'))
        .filter((name) => (/^wal\/.*\/([0-9A-F]{24})/.exec(name)?.[1] ?? begin) >= begin);
    const expire = async (): Promise<Document> => {
      const [document] = await archive.json<readonly [Document]>(['expire', '--confirm']);
      return document;
    };
    // One that is newer by name, by time and by the version of its files does not make the old ones count less, nor the other way round.
    const files = filesOf();
    const first = await expire();
    expect(first.done?.removed).toEqual(before.slice(0, 1));
    expect(files.length).toBeGreaterThan(4);
    expect(filesOf()).toEqual(expect.arrayContaining([...files]));

    for (const row of [4, 5]) {
      await living.query(`INSERT INTO rows VALUES (${row})`);
      young.push((await archive.backup()).id);
    }
    const time = await living.value(`SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.USOF')`);
    await living.query('INSERT INTO rows VALUES (6)');
    const last = await living.value('SELECT pg_walfile_name(pg_switch_wal())');
    await until('the last segment', () => filesOf().some((name) => name.includes(`/${last}-`)));
    await receiving.stop();
    expect((await expire()).done?.removed).toEqual(young.slice(0, 1));

    // A month later the new line has taken the place of the old one, of which the last backup stays.
    const config = JSON.parse(readFileSync(archive.config, 'utf8')) as {
      readonly retention: { readonly keep: number };
    };
    const policy: RetentionPolicy = { ...config.retention, minimum: 1, proven: 1, wal: 'all', labels: [] };
    const repository = await fsRepository(archive.repository);
    const plan = await planExpire(repository, { policy, now: () => Date.now() + 30 * DAY });
    const kept = plan.backups.filter(({ action }) => action === 'keep').map(({ id }) => id);
    expect(kept.toSorted()).toEqual([...before.slice(2), ...young.slice(1)].toSorted());

    for (const [id, name, args, rows] of [
      [young[1], 'living', ['--target-time', time], '5'],
      [before[2], 'former', [], '3'],
    ] as const) {
      const clone = later(await restored(archive, 15, name, ['--backup', `${id}`, ...args]), (opened) =>
        opened.destroy(),
      );
      await startAndPromote(clone);
      expect(await clone.value('SELECT count(*) FROM rows'), name).toBe(rows);
      await clone.kill();
    }
  },
  300_000,
);
