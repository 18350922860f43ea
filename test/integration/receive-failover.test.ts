/** A failover under load with the slot on both hosts: the archive is whole over the switch, and so is what is restored from it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { TestArchive } from '../support/archive.ts';
import { contiguity } from '../support/contiguous.ts';
import { later } from '../support/later.ts';
import { ledger, Writers } from '../support/load.ts';
import { midSegment } from '../support/mid-segment.ts';
import { PostgresServer } from '../support/postgres.ts';
import { flushedAll } from '../support/receiving.ts';
import { restoredAlone } from '../support/restoring.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const SEGMENT = 1024 * 1024;

async function restartLsn(server: PostgresServer): Promise<bigint | undefined> {
  const [row] = await server.query<{ lsn: string | null }>(
    `SELECT restart_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = 'pgark'`,
  );
  return row?.lsn == null ? undefined : parseLsn(row.lsn);
}

test('H-08 a failover: the slot is on the standby before, the receiver follows, no WAL and no acknowledged commit is missing', async () => {
  const primary = later(
    await PostgresServer.start({
      major: 17,
      segmentMegabytes: 1,
      // A new primary that keeps no more than it must: without its slot what the receiver lacks would be gone soon.
      settings: { min_wal_size: '2MB', max_wal_size: '16MB', wal_retrieve_retry_interval: '200ms' },
    }),
    (server) => server.destroy(),
  );
  const systemId = await systemIdOf(primary);
  await primary.stop();
  const standby = later(await startStandby(primary), destroyStandby);
  const hosts = `127.0.0.1:${primary.port},127.0.0.1:${standby.port}`;
  const archive = later(
    new TestArchive(primary, {
      codecs: [],
      config: { postgres: { url: `postgres://postgres@${hosts}/postgres?target_session_attrs=primary` } },
      receive: { guardian: { interval: '1s', slots: 'all' } },
    }),
    (made) => made.destroy(),
  );
  const receiver = later(await archive.receive(primary, ['--json']), (started) => started.kill());
  await archive.backup();
  await until(
    'the slot is on the standby',
    async () => (await restartLsn(standby)) !== undefined,
    () => receiver.output,
  );
  const made = await restartLsn(standby);
  await primary.query(`ALTER SYSTEM SET synchronous_standby_names = '2 (standby, pgark)'`);
  await primary.query('SELECT pg_reload_conf()');
  const writers = await Writers.start(primary, 4);
  while (writers.total < 500) await sleep(20);
  // It keeps no WAL for ever: the guardian moves it along behind the slot of the primary.
  await until(
    'the slot of the standby moves',
    async () => ((await restartLsn(standby)) ?? 0n) > (made ?? 0n),
    () => receiver.output,
  );
  await midSegment(primary, SEGMENT);
  await primary.kill();
  const before = await writers.stop();
  await promote(standby);
  expect(await restartLsn(standby)).toBeDefined();
  await standby.query(`ALTER SYSTEM SET synchronous_standby_names = 'pgark'`);
  await standby.query('SELECT pg_reload_conf()');
  const after = await Writers.start(standby, 4);
  const begun = after.total;
  await until(
    'commits wait for the receiver, which follows',
    () => after.total > begun + 500,
    () => receiver.output,
  );
  // The guardian has seen the switch too.
  await until(
    'the new primary is told',
    () => receiver.output.includes(`127.0.0.1:${standby.port} is a primary on timeline 2; before,`),
    () => receiver.output,
  );
  const acknowledged = await after.stop();
  acknowledged.forEach((last, session) => expect(last).toBeGreaterThanOrEqual(before[session] ?? 0));
  await standby.query('SELECT pg_switch_wal()');
  await flushedAll(standby);
  expect(await receiver.stop(), receiver.output).toBe(0);

  const events = receiver.cli
    .stdout()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; state?: string });
  const names = events.map(({ event, state }) => state ?? event);
  for (const bad of ['wal.gap', 'WAL_GAP', 'TIMELINE_DIVERGED', 'SLOT_MISSING', 'wal.conflict'])
    expect(names).not.toContain(bad);
  const { segments, missing } = await contiguity(archive.repository, systemId, SEGMENT);
  expect(missing).toEqual([]);
  expect([...segments.keys()]).toEqual([1, 2]);
  const clone = await restoredAlone(archive, standby);
  const found = await ledger(clone);
  expect(found.holes).toBe(0);
  expect(found.last).toEqual(acknowledged);
});
