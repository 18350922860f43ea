import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { segmentStart } from '../../core/src/postgres/wal-file.ts';
import { PostgresServer } from '../support/postgres.ts';
import { connect, flushLsn, load, Recorder } from '../support/replication.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';

describe.each([15, 18] as const)('PostgreSQL %i across a promotion', (major) => {
  let primary: PostgresServer;
  let standby: PostgresServer;

  beforeAll(async () => {
    primary = await PostgresServer.create({ major });
    standby = await startStandby(primary);
  });

  afterAll(async () => {
    await destroyStandby(standby);
    await primary.destroy();
  });

  test('H-08 the stream ends with the timeline and goes on on the next; nothing is assumed', async () => {
    await load(primary, 1000);
    await caughtUp(primary, standby);
    const connection = await connect(standby.port);
    expect(connection.inRecovery).toBe(true);
    const { flushLsn: from, systemId } = await connection.identifySystem();
    const size = await connection.segmentSize();
    const recorder = new Recorder();
    const stream = connection.startReplication({ lsn: segmentStart(from, size), timeline: 1 }, recorder);
    await recorder.until(from);
    await primary.stop('immediate');
    await promote(standby);
    const end = await stream.ended;
    if (end.reason !== 'timeline-end') throw new Error(`ended with ${end.reason}`);
    expect(end.nextTimeline).toBe(2);
    expect(recorder.end).toBeGreaterThanOrEqual(end.nextStart);

    // The connection goes on: history, byte for byte, then the new timeline from the start of its segment.
    const history = await connection.timelineHistory(2);
    expect(history.name).toBe('00000002.history');
    expect(Buffer.from(history.content).equals(readFileSync(join(standby.data, 'pg_wal', history.name)))).toBe(true);
    expect(await connection.identifySystem()).toMatchObject({ systemId, timeline: 2 });
    expect(connection.inRecovery).toBe(false);
    await load(standby, 10);
    const next = new Recorder();
    const following = connection.startReplication({ lsn: segmentStart(end.nextStart, size), timeline: 2 }, next);
    await next.until(await flushLsn(standby));
    following.stop();
    await expect(following.ended).resolves.toEqual({ reason: 'stopped' });
    expect(next.start).toBe(segmentStart(end.nextStart, size));

    // Exactly on the switch point there is no COPY at all; behind it is WAL that this server never had.
    const silent = new Recorder();
    const exact = connection.startReplication({ lsn: end.nextStart, timeline: 1 }, silent);
    await expect(exact.ended).resolves.toEqual(end);
    expect(silent.chunks).toEqual([]);
    const beyond = connection.startReplication({ lsn: end.nextStart + 8192n, timeline: 1 }, new Recorder());
    await expect(beyond.ended).rejects.toMatchObject({
      code: 'TIMELINE_DIVERGED',
      details: { detail: expect.stringContaining('forked') },
    });

    // A stop while the old timeline is sent is a stop.
    const stopped = connection.startReplication({ lsn: segmentStart(from, size), timeline: 1 }, new Recorder());
    stopped.stop();
    await expect(stopped.ended).resolves.toEqual({ reason: 'stopped' });
    await connection.close();
  });

  test('a history whose reason is no UTF-8 comes through byte for byte', async () => {
    const path = join(standby.data, 'pg_wal', '00000002.history');
    const bytes = Buffer.concat([readFileSync(path), Buffer.from([0x23, 0xff, 0xfe, 0xe9, 0x0a])]);
    execFileSync('dd', [`of=${path}`, 'status=none'], { input: bytes });
    const connection = await connect(standby.port);
    expect(Buffer.from((await connection.timelineHistory(2)).content).equals(bytes)).toBe(true);
    await connection.close();
  });
});
