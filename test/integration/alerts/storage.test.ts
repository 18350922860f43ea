/** Alerts about storages and the spool, each in a real Prometheus, by what it is about. */
import { readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ESCROW, OPERATIONS, writeIdentity } from '../../support/age.ts';
import { AlertScene, expectWholeGroup, isWanted, LONG, WHY } from '../../support/alert-scene.ts';
import { later } from '../../support/later.ts';
import { MoodyStorages } from '../../support/moody-storage.ts';
import { PostgresServer } from '../../support/postgres.ts';
import { smallDisk } from '../../support/small-disk.ts';
import { segmentsIn, shipSegments, writeWal } from '../../support/wal-writer.ts';

describe.runIf(isWanted)(`alerts about storages (${WHY})`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    // A check refuses a server that does not sync.
    server = await PostgresServer.start({ major: 17, segmentMegabytes: 1, settings: { fsync: 'on' } });
  });
  afterAll(() => server.destroy());

  const moody = (folder: string): object => ({
    repositories: [{ name: 'primary', storage: { use: 'moody', path: `${folder}/main.repository` } }],
  });

  test('a storage that is away, refuses, fails now and then, or has another clock', LONG, async () => {
    const storages = new MoodyStorages();
    const scene = await AlertScene.open({ url: server.url(), cluster: moody, plugins: [storages.plugin] });
    const repository = join(scene.opened.folder, 'main.repository');
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await shipSegments(server, repository, 2);
    await scene.fires();

    renameSync(repository, `${repository}.away`);
    await scene.fires('PgarkRepositoryUnreachable');
    renameSync(`${repository}.away`, repository);
    await scene.fires();

    storages.mood = (call) => (call === 'put' ? 'denied' : 'works');
    await server.query('SELECT pg_switch_wal()');
    await scene.fires('PgarkRepositoryNotWritten', 'PgarkSpoolWaiting');
    storages.mood = () => 'works';
    // The next file that is taken ends the wait of the one before it.
    await shipSegments(server, repository, 1);
    await scene.fires();

    // Each call fails once, and works when it is tried again.
    const failed = new Set<string>();
    storages.mood = (call, key) => {
      const isSecond = failed.delete(`${call} ${key}`);
      if (!isSecond) failed.add(`${call} ${key}`);
      return isSecond ? 'works' : 'unavailable';
    };
    await scene.fires('PgarkStorageFailing');
    storages.mood = () => 'works';
    await scene.fires();

    const last = join(repository, segmentsIn(repository).at(-1) ?? '');
    const ahead = Date.now() / 1000 + 3600;
    utimesSync(last, ahead, ahead);
    await scene.fires('PgarkClocksDiffer');
    utimesSync(last, ahead - 3600, ahead - 3600);
    await scene.fires();
    expect(await scene.prometheus.broken()).toEqual([]);
  });

  const disk = smallDisk(48);
  test.skipIf(typeof disk === 'string')(
    `a spool whose disk fills${typeof disk === 'string' ? ` (${disk})` : ''}`,
    LONG,
    async () => {
      if (typeof disk === 'string') return;
      later(disk, (one) => one.unmount());
      const storages = new MoodyStorages();
      const scene = await AlertScene.open({
        url: server.url(),
        cluster: (folder) => ({ ...moody(folder), receive: { slot: 'spool', spool: disk.path } }),
        plugins: [storages.plugin],
      });
      const repository = join(scene.opened.folder, 'main.repository');
      await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
      await scene.archive.backup();
      await scene.fires();
      // By somebody else: less is left than there should be.
      writeFileSync(join(disk.path, 'other'), Buffer.alloc(36 << 20));
      await scene.fires('PgarkSpoolFilling');
      rmSync(join(disk.path, 'other'));
      await scene.fires();
      // By WAL that waits: enough is left, and soon will not be.
      storages.mood = (call) => (call === 'put' ? 'denied' : 'works');
      const writing = later(
        setInterval(() => void writeWal(server, 1), 1000),
        clearInterval,
      );
      await scene.fires('PgarkSpoolFilling', 'PgarkSpoolWaiting', 'PgarkRepositoryNotWritten');
      const free = await scene.prometheus.values('pgark_spool_free_bytes');
      expect(free.map((bytes) => bytes > 16 << 20)).toEqual([true]);
      clearInterval(writing);
      await scene.fires('PgarkSpoolWaiting', 'PgarkRepositoryNotWritten');
      storages.mood = () => 'works';
      await shipSegments(server, repository, 1);
      await scene.fires();
    },
  );

  test('a key that opens nothing', LONG, async () => {
    const identity = (folder: string, name: string): object => ({
      restore: { identities: [{ file: `${folder}/${name}` }] },
    });
    const scene = await AlertScene.open({
      url: server.url(),
      cluster: (folder) => ({
        repositories: [
          {
            name: 'primary',
            storage: { use: 'fs', path: `${folder}/main.repository` },
            codecs: [{ use: 'age', recipients: [OPERATIONS.recipient] }],
          },
        ],
        receive: { slot: 'keys', spool: `${folder}/spool` },
      }),
    });
    const { folder } = scene.opened;
    writeIdentity(folder, OPERATIONS);
    const right = readdirSync(folder).find((name) => name.endsWith('.key')) ?? '';
    renameSync(join(folder, right), join(folder, 'right.key'));
    writeIdentity(folder, ESCROW);
    renameSync(join(folder, right), join(folder, 'wrong.key'));
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.reload({ main: identity(folder, 'right.key') });
    await scene.archive.backup();
    await scene.fires();
    await scene.reload({ main: identity(folder, 'wrong.key') });
    await scene.start('check');
    await scene.fires('PgarkKeyUnreadable', 'PgarkRunFailed');
    await scene.reload({ main: identity(folder, 'right.key') });
    await scene.start('check');
    await scene.fires();
  });

  test('each rule was seen', () =>
    expectWholeGroup('pgark-storage', typeof disk === 'string' ? ['PgarkSpoolFilling'] : []));
});
