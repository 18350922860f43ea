/** Alerts about the daemon itself, each in a real Prometheus, by what it is about. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AlertScene, expectWholeGroup, isWanted, LONG, WHY } from '../../support/alert-scene.ts';
import { freePort } from '../../support/free-port.ts';
import { later } from '../../support/later.ts';
import { MoodyStorages } from '../../support/moody-storage.ts';
import { PostgresServer } from '../../support/postgres.ts';

describe.runIf(isWanted)(`alerts about the daemon (${WHY})`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start({ major: 17, segmentMegabytes: 1 });
  });
  afterAll(() => server.destroy());

  test('each fires when it should, and clears', LONG, async () => {
    const storages = new MoodyStorages();
    const walPort = await freePort();
    const scene = await AlertScene.open({
      url: server.url(),
      cluster: (folder) => ({
        repositories: [{ name: 'primary', storage: { use: 'moody', path: `${folder}/main.repository` } }],
        serve: { listen: `127.0.0.1:${walPort}` },
      }),
      others: () => ({ broken: { postgres: {}, repositories: [], nonsense: 1 } }),
      plugins: [storages.plugin],
      pace: { look: 5000, restart: { first: 50, most: 500 }, slowRestart: { first: 200, most: 500 }, sample: 100 },
    });
    const { daemon } = scene.opened;
    await scene.fires('PgarkClusterInvalid', 'PgarkNoBackup', 'PgarkNothingRestorable');
    // Its section is taken out of the config.
    await scene.reload({});
    await scene.archive.backup();
    await scene.fires();

    storages.mood = (call) => (call === 'list' ? 'hangs' : 'works');
    await scene.fires('PgarkLookStale');
    expect(storages.calls).toBeGreaterThan(0);
    storages.mood = () => 'works';
    await scene.fires();

    const other = createServer().listen(walPort, '127.0.0.1');
    await once(other, 'listening');
    later(other, () => other.close());
    await scene.reload({ daemon: { serveWal: true } });
    await scene.fires('PgarkPartDown', 'PgarkPartRestarting');
    other.close();
    await scene.fires();

    daemon.fault(new Error('a fault that was made for a test'));
    await scene.fires('PgarkFault');
    await scene.fires();

    const { listen } = daemon.config;
    await scene.reload({ daemon: { listen: 'off' } });
    await scene.fires('PgarkDown', 'PgarkAbsent');
    await scene.reload({ daemon: { listen } });
    await scene.fires();

    expect(await scene.prometheus.broken()).toEqual([]);
    expectWholeGroup('pgark-daemon');
  });
});
