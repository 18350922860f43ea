/** The guardian beside servers that have part of a hole, during long work, and with slots that keep nothing. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { GuardianConfig } from '../../core/src/config/config.ts';
import { closeHole } from '../../core/src/guardian/close-hole.ts';
import { Guardian } from '../../core/src/guardian/guardian.ts';
import { tendSlots } from '../../core/src/guardian/slots.ts';
import { parseLsn } from '../../core/src/postgres/lsn.ts';
import { resolveTarget, type ConnectionTarget } from '../../core/src/postgres/target.ts';
import { segmentName } from '../../core/src/postgres/wal-file.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { fill } from '../support/fill.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { later } from '../support/later.ts';
import { PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { caughtUp, destroyStandby, startStandby } from '../support/standby.ts';
import type { SeenEvent } from '../support/receiving.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { until } from '../support/until.ts';

const SEGMENT = 1024 * 1024;
const CONFIG: GuardianConfig = {
  interval: 200,
  maxLag: 1 << 30,
  closeHoles: true,
  backup: false,
  slots: 'primary',
  patroni: [],
};

const targetOf = (url: string): Promise<ConnectionTarget> =>
  resolveTarget({ url }, { env: {}, home: '/nonexistent', applicationName: 'pgark' });

const current = async (server: PostgresServer): Promise<bigint> =>
  parseLsn(await server.value('SELECT pg_current_wal_flush_lsn()')) / BigInt(SEGMENT);

/** A repository whose only segments have these numbers: as the server has them, else of a content that does not matter. */
async function holed(server: PostgresServer, numbers: readonly bigint[]): Promise<Repository> {
  const folder = later(temporaryFolder('holed'), removeFolder);
  const repository = await fsRepository(join(folder, 'repository'), { compressed: false });
  await repository.open({ create: true });
  const systemId = await systemIdOf(server);
  for (const number of numbers) {
    const name = segmentName(1, number, SEGMENT);
    const path = join(server.data, 'pg_wal', name);
    await repository.wal(systemId).push(name, existsSync(path) ? { path } : { bytes: Buffer.from(name) });
  }
  return repository;
}

test('H-12 a server that has only the beginning of a hole, as a standby that lost its primary, does not hold up the guardian for ever', async () => {
  const server = later(
    await PostgresServer.start({ segmentMegabytes: 1, settings: { wal_keep_size: '500MB' } }),
    (one) => one.destroy(),
  );
  await fill(server, 4);
  const at = await current(server);
  const repository = await holed(server, [at - 3n, at + 10n]);
  const folder = later(temporaryFolder('holes'), removeFolder);
  const end = new AbortController();
  const closing = closeHole(
    repository,
    { timeline: 1, first: at - 2n, last: at + 9n },
    {
      systemId: await systemIdOf(server),
      segmentSize: SEGMENT,
      others: [],
      servers: [await targetOf(server.url())],
      folder: join(folder, 'holes'),
      signal: end.signal,
    },
  ).then(
    ({ left }) => left.map(({ first, last }) => `${first - at}..${last - at}`),
    (error: unknown) => error,
  );
  const outcome = await Promise.race([closing, sleep(60_000, 'still waiting after a minute')]);
  end.abort();
  await closing;
  expect(outcome).toEqual(['0..9']);
});

test('H-12 what the guardian says of the server is no older than a look, whatever else it does', async () => {
  const server = later(await PostgresServer.start({ segmentMegabytes: 1 }), (one) => one.destroy());
  const repository = await holed(server, [1n, 9n]); // the server never had what lies between
  const events: SeenEvent[] = [];
  let backups = 0;
  const guardian = new Guardian({
    target: await targetOf(server.url()),
    slot: 'pgark',
    config: { ...CONFIG, closeHoles: false, backup: true },
    systemId: await systemIdOf(server),
    segmentSize: SEGMENT,
    repositories: [{ repository, check: () => Promise.resolve(), coming: () => () => false }],
    folder: '/nonexistent',
    isStreaming: () => true,
    /** A large one. */
    takeBackup: async (signal) => {
      backups += 1;
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('ended')));
      });
      return '';
    },
    onEvent: (name, data) => events.push({ name, data: { ...data } }),
    logger: silentLogger,
  });
  later(guardian, (one) => one.stop());
  guardian.start();
  await until('the backup', () => backups > 0);
  const state = (): unknown => events.findLast(({ data }) => data['subject'] === 'server')?.data['state'];
  expect(state()).toBe('primary');
  await server.stop();
  await sleep(10_000); // fifty looks
  expect(state()).toBe('unknown');
});

test('H-09 a slot of a standby that keeps no WAL is made anew, or at least told', async () => {
  const primary = await PostgresServer.create({ segmentMegabytes: 1 });
  later(primary, (one) => one.destroy());
  await primary.start();
  await primary.stop();
  const standby = later(await startStandby(primary), destroyStandby);
  await caughtUp(primary, standby);
  // As one that was invalidated, or one that was made by hand.
  await standby.query(`SELECT pg_create_physical_replication_slot('pgark', false)`);
  const target = await targetOf(
    `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres?target_session_attrs=primary`,
  );
  const options = { target, slot: 'pgark', systemId: await systemIdOf(primary), signal: new AbortController().signal };
  const { troubles } = await tendSlots(options);
  await tendSlots(options);
  const restart = await standby.value(`SELECT coalesce(restart_lsn::text, 'keeps nothing') FROM pg_replication_slots`);
  expect({ restart, told: troubles.length > 0 }).not.toEqual({ restart: 'keeps nothing', told: false });
});

test('H-08 the slot of a former primary that came back does not move those of standbys beyond what the receiver has', async () => {
  const primary = await PostgresServer.create({ segmentMegabytes: 1, settings: { wal_keep_size: '100MB' } });
  later(primary, (one) => one.destroy());
  await primary.start();
  await primary.stop();
  // The same cluster on another host, from before: a primary that was not demoted.
  const former = join(later(temporaryFolder('former'), removeFolder), 'data');
  execFileSync('cp', ['-a', primary.data, former]);
  const other = later(await PostgresServer.open(18, former), (one) => one.destroy());
  const standby = later(await startStandby(primary), destroyStandby);
  await other.start();
  for (const one of [primary, standby, other])
    await one.query(`SELECT pg_create_physical_replication_slot('pgark', true)`);
  const received = await primary.value('SELECT restart_lsn FROM pg_replication_slots');
  // The former primary has gone on, and its own receiver has all of that; the receiver of the present one is behind.
  await fill(primary, 4);
  await fill(other, 6);
  await other.query(`SELECT pg_replication_slot_advance('pgark', pg_current_wal_flush_lsn())`);
  await caughtUp(primary, standby);
  const hosts = [primary, other, standby].map(({ port }) => `127.0.0.1:${port}`).join(',');
  const target = await targetOf(`postgres://postgres@${hosts}/postgres?target_session_attrs=primary`);
  const systemId = await systemIdOf(primary);
  await tendSlots({ target, slot: 'pgark', systemId, signal: new AbortController().signal });
  const kept = await standby.value('SELECT restart_lsn FROM pg_replication_slots');
  expect(parseLsn(kept) <= parseLsn(received), `the standby keeps from ${kept}, the receiver has ${received}`).toBe(
    true,
  );
});
