/** A receiver of a pair was away during a failover, and comes back with WAL of the old timeline that the new primary never got. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ArchiveError } from '../../core/src/contracts/errors.ts';
import { fill } from '../support/fill.ts';
import { fsRepository } from '../support/fs-repository.ts';
import { later } from '../support/later.ts';
import { PostgresServer } from '../support/postgres.ts';
import { flushedAll, Receiving, withPut } from '../support/receiving.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

test.each([0, 2])(
  'H-08 it stands by, ships what it has, and takes over on the new timeline; whole segments beyond the fork: %i',
  async (beyond) => {
    const primary = later(
      await PostgresServer.start({ segmentMegabytes: 1, settings: { wal_keep_size: '500MB' } }),
      (one) => one.destroy(),
    );
    const systemId = await systemIdOf(primary);
    await fill(primary, 1);
    await primary.stop();
    const standby = later(await startStandby(primary), destroyStandby);
    const url = `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/?target_session_attrs=primary`;
    let down = false;
    const first = later(
      new Receiving({
        storage: (storage) =>
          withPut(storage, async (key, body, options) => {
            if (down) throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is down for this host');
            await storage.put(key, body, options);
          }),
      }),
      (made) => made.destroy(),
    );
    const repositories = [await fsRepository(join(first.folder, 'repository'), { compressed: false })];
    const second = later(new Receiving({ receive: { repositories } }), (made) => made.destroy());
    await first.stream(primary.port, { url });
    await fill(primary, 2);
    await first.shipped(systemId);
    await caughtUp(primary, standby);
    down = true;
    await standby.query(`ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'`);
    await standby.query('SELECT pg_reload_conf()');
    await until(
      'no standby',
      async () =>
        (await primary.value(`SELECT count(*) FROM pg_stat_replication WHERE application_name = 'standby'`)) === '0',
    );
    await primary.query('INSERT INTO filler VALUES (2)');
    await fill(primary, beyond);
    await flushedAll(primary);
    await primary.kill();
    await first.stop();
    await promote(standby);
    await second.stream(standby.port, { url });
    await fill(standby, 6);
    await second.shipped(systemId);
    down = false;
    const before = first.events.length;
    await first.start(standby.port, { url });
    await first.waitFor('wal.state', ({ state }) => state === 'standing-by', before);
    await first.shipped(systemId);
    await second.stop();
    const outcome = await Promise.race([
      first.waitFor('wal.state', ({ state }) => state === 'streaming', before, 60),
      first.ended.then(
        (value) => value,
        (error: unknown) => error,
      ),
    ]);
    expect(first.states.at(-1), `${JSON.stringify(outcome)} ${first.report()}`).toBe('streaming');
    await first.waitFor('receive.connected', undefined, before);
    await fill(standby, 2);
    await flushedAll(standby);
    await first.shipped(systemId);
    await first.stop();
    for (const receiver of [first, second]) {
      const names = receiver.events.map(({ name }) => name);
      expect(names).not.toContain('wal.conflict');
      expect(names).not.toContain('wal.gap');
    }
  },
);
