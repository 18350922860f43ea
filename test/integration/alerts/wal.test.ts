/** Alerts about the stream of WAL, each in a real Prometheus, by what it is about. */
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AlertScene, expectWholeGroup, isWanted, LONG, WHY } from '../../support/alert-scene.ts';
import { later } from '../../support/later.ts';
import { MoodyStorages } from '../../support/moody-storage.ts';
import { PatroniMember } from '../../support/patroni-member.ts';
import { pauseThread } from '../../support/paused-thread.ts';
import { PostgresServer } from '../../support/postgres.ts';
import { Proxy } from '../../support/proxy.ts';
import { segmentsIn, shipSegments, writeWal } from '../../support/wal-writer.ts';

/** pgark's own role, which pg_hba.conf treats as a test wants it. */
const ROLE = 'archiver';

describe.runIf(isWanted)(`alerts about WAL (${WHY})`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
    await server.query(`CREATE ROLE ${ROLE} SUPERUSER REPLICATION LOGIN`);
  });
  afterAll(() => server.destroy());

  /** What pgark may connect for, from now on and for what is connected. */
  async function allow({
    replication,
    queries,
  }: {
    readonly replication: boolean;
    readonly queries: boolean;
  }): Promise<void> {
    const method = (isAllowed: boolean): string => (isAllowed ? 'trust' : 'reject');
    server.setHba([
      'host all postgres 127.0.0.1/32 trust',
      `host replication ${ROLE} 127.0.0.1/32 ${method(replication)}`,
      `host all ${ROLE} 127.0.0.1/32 ${method(queries)}`,
    ]);
    await server.query('SELECT pg_reload_conf()');
    if (!replication)
      await server.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender' AND usename = $1`,
        [ROLE],
      );
  }

  async function keepForSlots(size: string): Promise<void> {
    await server.query(`ALTER SYSTEM SET max_slot_wal_keep_size = '${size}'`);
    await server.query('SELECT pg_reload_conf()');
  }

  test('slot, receiver, server, and what comes of them', LONG, async () => {
    await keepForSlots('16MB');
    later(undefined, () => keepForSlots('-1'));
    const scene = await AlertScene.open({
      url: server.url(ROLE),
      cluster: (folder) => ({
        retention: { keep: 1 },
        receive: { slot: 'pgark', spool: `${folder}/spool`, guardian: { interval: '1s' } },
      }),
    });
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await scene.fires();

    await allow({ replication: false, queries: true });
    await scene.fires('PgarkReceiverDown');
    await writeWal(server, 12);
    await scene.fires('PgarkReceiverDown', 'PgarkSlotAtRisk');
    await writeWal(server, 10);
    await server.query('CHECKPOINT');
    await scene.fires('PgarkReceiverDown', 'PgarkSlotLost');
    // The receiver makes another slot, and what lies between is lost.
    await allow({ replication: true, queries: true });
    await scene.fires('PgarkWalGap');
    await scene.archive.backup();
    await scene.fires('PgarkWalHole');
    // What lies before the hole is removed.
    await scene.archive.expire();
    await scene.fires();

    await keepForSlots('-1');
    await allow({ replication: false, queries: true });
    await writeWal(server, 60);
    await scene.fires('PgarkReceiverDown', 'PgarkSlotKeepsWal', 'PgarkRepositoryBehind');
    await allow({ replication: true, queries: true });
    await scene.fires();

    await allow({ replication: true, queries: false });
    await scene.fires('PgarkServerUnknown');
    await allow({ replication: true, queries: true });
    await scene.fires();

    await server.stop();
    await scene.fires('PgarkReceiverDown');
    await server.start();
    await scene.fires();

    const goOn = await pauseThread('receive/thread');
    await scene.fires('PgarkReceiverStuck', 'PgarkReceiverDown');
    await goOn();
    await scene.fires();
    expect(await scene.prometheus.broken()).toEqual([]);
  });

  test('a receiver that is slower than the server', LONG, async () => {
    const proxy = later(await Proxy.listen({ port: server.port }, { pace: { bytes: 32_768, pause: 15 } }), (one) =>
      one.close(),
    );
    const scene = await AlertScene.open({
      url: `postgres://${ROLE}@127.0.0.1:${proxy.port}/postgres`,
      cluster: (folder) => ({ receive: { slot: 'slow', spool: `${folder}/spool` } }),
    });
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await scene.fires();
    await writeWal(server, 36);
    await scene.fires('PgarkReceiverLagging');
    await scene.fires();
  });

  test('WAL that no repository takes; slices of an open segment are taken', LONG, async () => {
    const storages = new MoodyStorages();
    const scene = await AlertScene.open({
      url: server.url(ROLE),
      cluster: (folder) => ({
        repositories: [{ name: 'primary', storage: { use: 'moody', path: `${folder}/main.repository` } }],
        receive: { slot: 'tail', spool: `${folder}/spool`, tail: '1s' },
        status: { cacheAge: 'off', walCritical: '12s' },
      }),
      plugins: [storages.plugin],
    });
    const repository = join(scene.opened.folder, 'main.repository');
    const client = later(await server.client(), (one) => one.end());
    // So often that the last slice never has all.
    const trickle = setInterval(() => void client.query(`SELECT pg_logical_emit_message(true, 'test', 'x')`), 20);
    later(trickle, clearInterval);
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await shipSegments(server, repository, 1);
    await scene.fires();
    // The last whole segment is older than the threshold, and yet nothing is wrong.
    await scene.sees('time() - pgark_wal_last_upload_timestamp_seconds > 25 and on (cluster) pgark_wal_lag_bytes > 0');
    await scene.fires();
    storages.mood = (call, key) => (call === 'put' && key.includes('/wal/') ? 'denied' : 'works');
    await scene.fires('PgarkWalNotArchived', 'PgarkRepositoryNotWritten');
    storages.mood = () => 'works';
    // A segment that is whole now is shipped at once, and ends the wait of what was denied.
    await server.query('SELECT pg_switch_wal()');
    await scene.fires();
  });

  test('one of two repositories lacks WAL; another member leads', LONG, async () => {
    const [member, other] = await Promise.all([
      PatroniMember.start('127.0.0.1', true),
      PatroniMember.start('localhost', false),
    ]);
    later(member, (one) => one.stop());
    later(other, (one) => one.stop());
    const scene = await AlertScene.open({
      url: server.url(ROLE),
      cluster: (folder) => ({
        repositories: ['near', 'far'].map((name) => {
          mkdirSync(join(folder, name));
          return { name, storage: { use: 'fs', path: join(folder, name) } };
        }),
        receive: {
          slot: 'two',
          spool: `${folder}/spool`,
          guardian: { interval: '1s', closeHoles: false, patroni: [member.url, other.url] },
        },
      }),
    });
    const far = join(scene.opened.folder, 'far');
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await shipSegments(server, far, 3);
    await scene.fires();

    [member.leads, other.leads] = [false, false];
    await scene.fires('PgarkServerInDoubt');
    member.leads = true;
    await scene.fires();

    const lost = join(far, segmentsIn(far).at(-2) ?? '');
    renameSync(lost, join(scene.opened.folder, 'lost'));
    await scene.fires('PgarkRepositoryHole');
    renameSync(join(scene.opened.folder, 'lost'), lost);
    await scene.fires();
  });

  test('each rule was seen', () => expectWholeGroup('pgark-wal'));
});
