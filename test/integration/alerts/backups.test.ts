/** Alerts about backups and what proves them, each in a real Prometheus, by what it is about. */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ArchiveError } from '../../../core/src/contracts/errors.ts';
import { API_VERSION, type Plugin } from '../../../core/src/contracts/plugin.ts';
import { pause } from '../../../core/src/receive/backoff.ts';
import { AlertScene, expectWholeGroup, isWanted, LONG, WHY } from '../../support/alert-scene.ts';
import { serverHome, serverUser } from '../../support/binaries.ts';
import { CLI } from '../../support/cli.ts';
import { later } from '../../support/later.ts';
import { MoodyStorages } from '../../support/moody-storage.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder } from '../../support/postgres.ts';
import { segmentsIn, shipSegments } from '../../support/wal-writer.ts';

/** Once a year: it is there, and not due while a test runs. */
const YEARLY = '0 0 1 1 *';
/** What is asked for a proof of backups is not asked of these scenes. */
const OF_PROOFS = ['PgarkVerifyTooOld', 'PgarkDrillTooOld'];

describe.runIf(isWanted)(`alerts about backups (${WHY})`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
  });
  afterAll(() => server.destroy());

  /** The path of a part of the oldest backup of a repository. */
  function partOfOldest(repository: string): string {
    const [part] = readdirSync(repository, { recursive: true, encoding: 'utf8' })
      .filter((path) => /\/backups\/.*\.tar/.test(path))
      .sort();
    return join(repository, part ?? '');
  }

  test('backups that fail, cannot be used, or reach less far than they should', LONG, async () => {
    let refuses = false;
    const gate: Plugin<'hook'> = {
      name: 'gate',
      kind: 'hook',
      apiVersion: API_VERSION,
      options: { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } },
      create: () => ({
        handle: async () => {
          if (refuses) throw new ArchiveError('HOOK_FAILED', 'no backup now');
          await Promise.resolve();
        },
        close: () => Promise.resolve(),
      }),
    };
    const scene = await AlertScene.open({
      url: server.url(),
      cluster: (folder) => ({
        receive: { slot: 'backups', spool: `${folder}/spool`, guardian: { interval: 'off' } },
        hooks: [{ use: 'gate', retries: 0, policy: 'fail', events: ['backup.started'] }],
        retention: { window: '1h', keep: 1 },
      }),
      plugins: [gate],
      ownTimes: OF_PROOFS,
    });
    const { folder } = scene.opened;
    const repository = join(folder, 'main.repository');
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    const first = partOfOldest(repository);
    await scene.fires();
    // A scheduler that finds no repository looks again after a while.
    await scene.reload({ main: { schedule: [{ do: 'gc', at: YEARLY }] } });

    refuses = true;
    await scene.start('backup');
    await scene.fires('PgarkBackupFailed', 'PgarkRunFailed');
    refuses = false;
    await scene.start('backup');
    await scene.fires();

    renameSync(first, `${folder}/part`);
    await scene.fires('PgarkBackupUnusable');
    renameSync(`${folder}/part`, first);
    await scene.fires();

    // The first backup is older than the window by now, and no stretch begins before this moment.
    await shipSegments(server, repository, 3);
    await scene.sees(
      'time() - pgark_backup_oldest_timestamp_seconds > on (cluster) pgark_retention_window_seconds / 180',
    );
    const lost = join(repository, segmentsIn(repository).at(-2) ?? '');
    renameSync(lost, `${folder}/segment`);
    await scene.fires('PgarkWalGap');
    await scene.archive.backup();
    await scene.fires('PgarkWalHole', 'PgarkRecoveryWindowShort');
    renameSync(`${folder}/segment`, lost);
    await scene.fires();

    await scene.reload({ main: { status: { cacheAge: 'off', backupCritical: '20s' } } });
    await scene.fires('PgarkBackupTooOld');
    await scene.archive.backup();
    await scene.reload({ main: { status: { cacheAge: 'off' } } });
    await scene.fires();
    expect(await scene.prometheus.broken()).toEqual([]);
  });

  test('a repository that lacks what another one has', LONG, async () => {
    const storages = new MoodyStorages();
    const repositories = (folder: string): readonly object[] =>
      ['near', 'far'].map((name) => {
        mkdirSync(join(folder, name), { recursive: true });
        return { name, storage: { use: 'moody', path: join(folder, name) } };
      });
    const scene = await AlertScene.open({
      url: server.url(),
      cluster: (folder) => ({
        repositories: repositories(folder).slice(0, 1),
        receive: { slot: 'two', spool: `${folder}/spool` },
      }),
      plugins: [storages.plugin],
      // Of many backups there is always WAL on its way.
      ownTimes: [...OF_PROOFS, 'PgarkSpoolWaiting'],
    });
    const { folder } = scene.opened;
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await scene.fires();
    await scene.reload({ main: { repositories: repositories(folder) } });
    await scene.fires('PgarkRepositoryWithoutBackup');
    await scene.archive.backup();
    await scene.fires();

    storages.mood = (call, key, path) =>
      call === 'put' && path.endsWith('far') && key.endsWith('/backup.json') ? 'denied' : 'works';
    await scene.reload({ main: { status: { cacheAge: 'off', backupCritical: '25s' } } });
    // The near one stays young.
    const enough = new AbortController();
    const taking = (async () => {
      while (!enough.signal.aborted) {
        await scene.archive.backup();
        await pause(2000, enough.signal);
      }
    })();
    try {
      await scene.fires('PgarkRepositoryBackupTooOld');
    } finally {
      enough.abort();
      await taking;
    }
    expect(storages.calls).toBeGreaterThan(0);
    storages.mood = () => 'works';
    await scene.archive.backup();
    await scene.reload({ main: { status: { cacheAge: 'off' } } });
    await scene.fires();
  });

  test('verifications', LONG, async () => {
    const storages = new MoodyStorages();
    const scene = await AlertScene.open({
      url: server.url(),
      cluster: (folder) => ({
        repositories: [{ name: 'primary', storage: { use: 'moody', path: `${folder}/main.repository` } }],
        receive: { slot: 'verify', spool: `${folder}/spool`, guardian: { interval: 'off' } },
      }),
      plugins: [storages.plugin],
      ownTimes: OF_PROOFS,
    });
    const repository = join(scene.opened.folder, 'main.repository');
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await shipSegments(server, repository, 2);
    await scene.fires();
    await scene.reload({ main: { schedule: [{ do: 'verify', at: YEARLY }] } });
    await scene.fires('PgarkNeverVerified');
    await scene.archive.verify({ level: 'full' });
    await scene.fires();

    const part = partOfOldest(repository);
    const bytes = readFileSync(part);
    const damaged = Buffer.from(bytes);
    damaged[1000] = (damaged[1000] ?? 0) ^ 1;
    renameSync(part, `${part}.away`);
    writeFileSync(part, damaged);
    await scene.archive.verify({ level: 'full' });
    // It was the only one.
    await scene.fires('PgarkVerifyFailed', 'PgarkBackupUnusable', 'PgarkNoBackup', 'PgarkNothingRestorable');
    renameSync(`${part}.away`, part);
    await scene.archive.verify({ level: 'full' });
    await scene.fires();

    storages.mood = (call, key) => (call === 'get' && key.includes('.tar') ? 'denied' : 'works');
    await scene.archive.verify({ level: 'full' });
    expect(storages.calls).toBeGreaterThan(0);
    await scene.fires('PgarkVerifyIncomplete');
    storages.mood = () => 'works';
    await scene.archive.verify({ level: 'full' });
    await scene.fires();
  });

  test('drills, and proofs that are too old', LONG, async () => {
    // The server of a drill runs as a user of its own, and fetches its WAL by a command that reads a file.
    const place = later(temporaryFolder('alerts'), removeFolder);
    const file = join(place, 'pgark.json');
    const user = serverUser();
    const drill = (wanted: string): object => ({
      folder: join(place, 'drill'),
      bin: join(serverHome(17), 'bin'),
      amcheck: false,
      checks: [{ sql: 'SELECT 1', expect: wanted }],
      ...(user !== undefined && { user: `${user.uid}:${user.gid}` }),
    });
    const scene = await AlertScene.open({
      url: server.url(),
      cluster: (folder) => ({
        repositories: [
          {
            name: 'primary',
            storage: { use: 'fs', path: `${folder}/main.repository`, fileMode: '0644', directoryMode: '0755' },
          },
        ],
        receive: { slot: 'drill', spool: `${folder}/spool` },
        drill: drill('2'),
      }),
      command: [...CLI, '--config', file],
    });
    const { config } = scene.opened;
    /** The user of that server may not look into the spool. */
    const write = (): void => {
      const { clusters, daemon } = config.value as {
        readonly clusters: { readonly main: object };
        readonly daemon: object;
      };
      const main = { ...clusters.main, receive: { spool: join(place, 'spool') } };
      writeFileSync(file, JSON.stringify({ clusters: { main }, daemon }));
      giveToServer(file);
    };
    write();
    await scene.fires('PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await scene.fires();
    await scene.reload({ main: { schedule: [{ do: 'drill', at: YEARLY }] } });
    await scene.fires('PgarkNeverDrilled');
    const failed = await scene.archive.drill({ sync: false });
    expect(failed.record.outcome, JSON.stringify(failed)).toBe('failed');
    await scene.fires('PgarkNeverDrilled', 'PgarkDrillFailed');
    await scene.reload({ main: { drill: drill('1') } });
    write();
    expect((await scene.archive.drill({ sync: false })).record.outcome).toBe('proven');
    await scene.archive.verify({ level: 'chain' });
    await scene.fires('PgarkDrillTooOld', 'PgarkVerifyTooOld');
    await scene.archive.verify({ level: 'chain' });
    await scene.fires('PgarkDrillTooOld');
    await scene.archive.drill({ sync: false });
    await scene.archive.verify({ level: 'chain' });
    await scene.fires();
  });

  test('each rule was seen', () => expectWholeGroup('pgark-backups'));
});
