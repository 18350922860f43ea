/** Two servers that both answer as the primary, and a cluster manager that knows which one leads. */
import { expect, test } from 'vitest';
import { TestArchive } from '../support/archive.ts';
import { contiguity } from '../support/contiguous.ts';
import { later } from '../support/later.ts';
import { PatroniMember } from '../support/patroni-member.ts';
import { PostgresServer } from '../support/postgres.ts';
import { flushedAll } from '../support/receiving.ts';
import { restoredAlone } from '../support/restoring.ts';
import { systemIdOf } from '../support/ship-wal.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';
import { until } from '../support/until.ts';

const SEGMENT = 1024 * 1024;

test('H-08 a primary that was not demoted is left for the leader that Patroni names', async () => {
  const old = later(
    await PostgresServer.start({ major: 17, segmentMegabytes: 1, settings: { wal_retrieve_retry_interval: '200ms' } }),
    (server) => server.destroy(),
  );
  const systemId = await systemIdOf(old);
  await old.stop();
  const standby = later(await startStandby(old), destroyStandby);
  const members = [await PatroniMember.start('127.0.0.1', true), await PatroniMember.start('localhost', false)];
  for (const member of members) later(member, (started) => started.stop());
  const hosts = `127.0.0.1:${old.port},localhost:${standby.port}`;
  const archive = later(
    new TestArchive(old, {
      codecs: [],
      config: { postgres: { url: `postgres://postgres@${hosts}/postgres?target_session_attrs=primary` } },
      receive: { guardian: { interval: '1s', slots: 'all', patroni: members.map(({ url }) => url) } },
    }),
    (made) => made.destroy(),
  );
  const receiver = later(await archive.receive(old, ['--json']), (started) => started.kill());
  const says = async (what: string, text: string): Promise<void> =>
    until(
      what,
      () => receiver.output.includes(text),
      () => receiver.output,
    );
  await archive.backup();
  await old.query('CREATE TABLE witness (a text)');
  await old.query(`INSERT INTO witness VALUES ('before')`);
  await caughtUp(old, standby);
  await says('Patroni names the old primary', '127.0.0.1 leads the cluster');

  // The manager promotes the standby, and cannot reach the old primary, which takes commits as before.
  await promote(standby);
  await old.query(`INSERT INTO witness VALUES ('lost with the old primary')`);
  await standby.query(`INSERT INTO witness VALUES ('after')`);
  expect(await old.value('SELECT pg_is_in_recovery()')).toBe('false');
  expect(await old.value('SELECT count(*) FROM pg_stat_replication WHERE application_name = $1', ['pgark'])).toBe('1');
  members.forEach((member, at) => (member.leads = at === 1));

  await says('the old primary is left', `localhost leads the cluster: leaving 127.0.0.1:${old.port}`);
  await says('the leader is streamed from', `"host":"localhost:${standby.port}","timeline":2`);
  await until(
    'the old primary has no receiver',
    async () =>
      (await old.value('SELECT count(*) FROM pg_stat_replication WHERE application_name = $1', ['pgark'])) === '0',
    () => receiver.output,
  );
  // The commit that the leader does not have was received: that it is lost is said, not passed over.
  expect(receiver.output).toContain('TIMELINE_DIVERGED');
  await standby.query('SELECT pg_switch_wal()');
  await flushedAll(standby);
  expect(await receiver.stop(), receiver.output).toBe(0);

  const { segments, missing } = await contiguity(archive.repository, systemId, SEGMENT);
  expect(missing).toEqual([]);
  expect([...segments.keys()]).toEqual([1, 2]);
  const clone = await restoredAlone(archive, standby);
  const rows = await clone.query<{ a: string }>('SELECT a FROM witness ORDER BY a');
  expect(rows.map(({ a }) => a)).toEqual(['after', 'before']);
});
