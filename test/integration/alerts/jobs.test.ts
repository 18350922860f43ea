/** Alerts about jobs and hooks, each in a real Prometheus, by what it is about. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ArchiveError } from '../../../core/src/contracts/errors.ts';
import { API_VERSION, type Plugin } from '../../../core/src/contracts/plugin.ts';
import { lockKey } from '../../../core/src/schedule/cluster-lock.ts';
import { AlertScene, expectWholeGroup, isWanted, LONG, WHY } from '../../support/alert-scene.ts';
import { later } from '../../support/later.ts';
import { PostgresServer } from '../../support/postgres.ts';

/** Once a year: it is there, and not due while a test runs. */
const YEARLY = '0 0 1 1 *';

describe.runIf(isWanted)(`alerts about jobs (${WHY})`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
  });
  afterAll(() => server.destroy());

  test('each fires when it should, and clears', LONG, async () => {
    let [isThere, isRefused] = [true, false];
    const chat: Plugin<'hook'> = {
      name: 'chat',
      kind: 'hook',
      apiVersion: API_VERSION,
      options: { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } },
      create: () => ({
        handle: async ({ name }) => {
          if (name === 'expire.planned' ? isRefused : !isThere)
            throw new ArchiveError('HOOK_FAILED', `${name} is not taken`, { retriable: true });
          await Promise.resolve();
        },
        close: () => Promise.resolve(),
      }),
    };
    // A session that belongs to no daemon has the lock.
    const other = later(await server.client(), (client) => client.end());
    const system = await server.value('SELECT system_identifier FROM pg_control_system()');
    await other.query('SELECT pg_advisory_lock($1::bigint)', [String(lockKey('main', system))]);
    const scene = await AlertScene.open({
      url: server.url(),
      cluster: () => ({
        hooks: [
          { use: 'chat', name: 'chat', retries: 0, quiet: '0s', events: ['run.failed', 'run.finished'] },
          { use: 'chat', name: 'gate', retries: 0, policy: 'fail', events: ['expire.planned'] },
        ],
        retention: { keep: 1 },
        schedule: [{ do: 'expire', at: YEARLY }],
      }),
      plugins: [chat],
    });
    await scene.fires('PgarkSchedulerWithoutHolder', 'PgarkNoBackup', 'PgarkNothingRestorable');
    await scene.archive.backup();
    await scene.fires('PgarkSchedulerWithoutHolder');
    await other.query('SELECT pg_advisory_unlock_all()');
    await scene.fires();

    isRefused = true;
    await scene.start('expire');
    await scene.fires('PgarkRunFailed');
    isRefused = false;
    await scene.start('expire');
    await scene.fires();

    isThere = false;
    await scene.start('expire');
    await scene.fires('PgarkHookNotDelivering');
    isThere = true;
    await scene.fires();

    // It goes on for as long as the server is told to take for it.
    await scene.reload({ main: { backup: { maxRate: '32KiB' } } });
    const slow = await scene.start('backup');
    await scene.fires('PgarkRunTakesLong');
    await scene.cluster.scheduler.cancel(slow, 'somebody');
    await scene.fires();
    expect(await scene.prometheus.broken()).toEqual([]);
    expectWholeGroup('pgark-jobs');
  });
});
