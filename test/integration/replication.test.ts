import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReplicationConnection } from '../../core/src/postgres/replication/connection.ts';
import { segmentName, segmentNumber, segmentStart } from '../../core/src/postgres/wal-file.ts';
import { MAJORS, PostgresServer } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { connect, flushLsn, load, Recorder } from '../support/replication.ts';

const MEGABYTE = 1 << 20;

describe.each(MAJORS)('PostgreSQL %i', (major) => {
  let server: PostgresServer;
  let connection: ReplicationConnection;

  beforeAll(async () => {
    server = await PostgresServer.start({
      major,
      segmentMegabytes: 1,
      settings: { min_wal_size: '2MB', max_wal_size: '2MB', max_slot_wal_keep_size: '2MB', wal_keep_size: '0' },
    });
    connection = await connect(server.port);
  });

  afterAll(async () => {
    await connection.close();
    await server.destroy();
  });

  test('says who it is', async () => {
    expect(connection.host).toBe(`127.0.0.1:${server.port}`);
    expect(Math.floor(connection.serverVersion / 10_000)).toBe(major);
    expect(String(connection.serverVersion)).toBe(await connection.show('server_version_num'));
    expect(connection.inRecovery).toBe(false);
    const identity = await connection.identifySystem();
    expect(identity.systemId).toBe(await server.value('SELECT system_identifier FROM pg_control_system()'));
    expect(identity.timeline).toBe(1);
    expect(identity.flushLsn).toBeLessThanOrEqual(await flushLsn(server));
    expect(await connection.segmentSize()).toBe(MEGABYTE);
    expect(await connection.show('data_directory_mode')).toBe('0700');
  });

  test('a refused command leaves the connection usable', async () => {
    await expect(connection.timelineHistory(1)).rejects.toMatchObject({
      code: 'SERVER_ERROR',
      details: { sqlstate: '58P01' },
    });
    await expect(connection.show('no_such_setting')).rejects.toMatchObject({
      code: 'SERVER_ERROR',
      details: { sqlstate: '42704' },
    });
    await expect(connection.show('x; DROP')).rejects.toMatchObject({ code: 'USAGE' });
    expect((await connection.identifySystem()).timeline).toBe(1);
  });

  test('two commands at once are a fault of ours', async () => {
    const first = connection.identifySystem();
    await expect(connection.show('port')).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(first).resolves.toBeDefined();
  });

  test('H-06 slots: missing, reserved at once, unreserved, dropped', async () => {
    expect(await connection.readSlot('slot1')).toEqual({ state: 'missing' });
    await connection.createSlot('slot1');
    const made = await connection.readSlot('slot1');
    expect(made).toMatchObject({ state: 'reserved', restartTimeline: 1 });
    const restart = await server.value(
      "SELECT restart_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = 'slot1'",
    );
    expect(made).toMatchObject({ restartLsn: BigInt(restart) });
    await expect(connection.createSlot('slot1')).rejects.toMatchObject({
      details: { sqlstate: '42710', slot: 'slot1' },
    });
    await connection.dropSlot('slot1');
    await expect(connection.dropSlot('slot1')).rejects.toMatchObject({ code: 'SLOT_MISSING' });

    await server.query("SELECT pg_create_physical_replication_slot('lazy')");
    expect(await connection.readSlot('lazy')).toEqual({ state: 'unreserved' });
    await connection.dropSlot('lazy');
    await expect(connection.createSlot('Bad"Name')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });

    const other = await connect(server.port);
    await other.createSlot('brief', { temporary: true });
    expect(await connection.readSlot('brief')).toMatchObject({ state: 'reserved' });
    await other.close();
    while ((await connection.readSlot('brief')).state !== 'missing') await sleep(10);
  });

  test('streams the bytes of the WAL, drains, stops, and takes the next command', async () => {
    const { flushLsn: from } = await connection.identifySystem();
    const start = segmentStart(from, MEGABYTE);
    const recorder = new Recorder();
    const stream = connection.startReplication({ lsn: start, timeline: 1 }, recorder);
    await load(server, 500);
    const end = await flushLsn(server);
    await recorder.until(end);
    stream.status({ write: recorder.end, flush: recorder.end });
    stream.stop();
    await expect(stream.ended).resolves.toEqual({ reason: 'stopped' });
    expect(recorder.start).toBe(start);
    expect(recorder.drains).toBeGreaterThan(0);
    const name = segmentName(1, segmentNumber(start, MEGABYTE), MEGABYTE);
    const file = readFileSync(join(server.data, 'pg_wal', name));
    const length = Math.min(recorder.bytes.length, MEGABYTE);
    expect(recorder.bytes.subarray(0, length).equals(file.subarray(0, length))).toBe(true);
    expect((await connection.identifySystem()).flushLsn).toBeGreaterThanOrEqual(end);
  });

  test('after stop nothing more is handed over, even when stop comes first', async () => {
    const { flushLsn: from } = await connection.identifySystem();
    const recorder = new Recorder();
    const stream = connection.startReplication({ lsn: segmentStart(from, MEGABYTE), timeline: 1 }, recorder);
    stream.stop();
    await expect(stream.ended).resolves.toEqual({ reason: 'stopped' });
    expect(recorder).toMatchObject({ chunks: [], keepalives: 0, drains: 0 });
  });

  test('an exception of a handler ends the connection, and is what the caller gets', async () => {
    const own = await connect(server.port);
    const fault = new Error('disk full');
    const recorder = new Recorder();
    recorder.data = () => {
      throw fault;
    };
    const { flushLsn: from } = await own.identifySystem();
    await load(server, 1);
    await expect(own.startReplication({ lsn: from, timeline: 1 }, recorder).ended).rejects.toBe(fault);
    await expect(own.identifySystem()).rejects.toBe(fault);
  });

  test('H-09 slot missing and slot busy have names', async () => {
    const { flushLsn: flushed } = await connection.identifySystem();
    const position = { slot: 'taken', lsn: segmentStart(flushed, MEGABYTE), timeline: 1 };
    await expect(connection.startReplication(position, new Recorder()).ended).rejects.toMatchObject({
      code: 'SLOT_MISSING',
      details: { slot: 'taken' },
    });
    await connection.createSlot('taken');
    const owner = await connect(server.port);
    const recorder = new Recorder();
    const stream = owner.startReplication(position, recorder);
    while (recorder.chunks.length === 0) await sleep(10);
    await expect(connection.startReplication(position, new Recorder()).ended).rejects.toMatchObject({
      code: 'SLOT_BUSY',
      retriable: true,
    });
    await expect(connection.dropSlot('taken')).rejects.toMatchObject({ code: 'SLOT_BUSY' });
    stream.stop();
    await stream.ended;
    await owner.close();
    await connection.dropSlot('taken');
  });

  test('H-09 a position or timeline that the server never had is TIMELINE_DIVERGED', async () => {
    const { flushLsn: lsn } = await connection.identifySystem();
    const ahead = connection.startReplication({ lsn: lsn + (1n << 30n), timeline: 1 }, new Recorder());
    await expect(ahead.ended).rejects.toMatchObject({
      code: 'TIMELINE_DIVERGED',
      message: expect.stringContaining('ahead'),
    });
    const elsewhere = connection.startReplication({ lsn, timeline: 9 }, new Recorder());
    await expect(elsewhere.ended).rejects.toMatchObject({
      code: 'TIMELINE_DIVERGED',
      message: expect.stringContaining('history'),
    });
    expect((await connection.identifySystem()).timeline).toBe(1);
  });

  test('H-09 removed WAL is WAL_GAP, an invalidated slot is seen', async () => {
    await connection.createSlot('late');
    const slot = await connection.readSlot('late');
    if (slot.state !== 'reserved') throw new Error('the slot reserves nothing');
    const old = segmentName(1, segmentNumber(slot.restartLsn, MEGABYTE), MEGABYTE);
    const names = async (): Promise<string[]> =>
      (await server.query<{ name: string }>('SELECT name FROM pg_ls_waldir()')).map(({ name }) => name);
    expect(await names()).toContain(old);
    while ((await names()).includes(old)) {
      await load(server);
      await server.query('CHECKPOINT');
    }
    expect(await server.value("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'late'")).toBe('lost');
    expect(await connection.readSlot('late')).toEqual({ state: 'unreserved' });
    const position = { lsn: segmentStart(slot.restartLsn, MEGABYTE), timeline: 1 };
    await expect(connection.startReplication(position, new Recorder()).ended).rejects.toMatchObject({
      code: 'WAL_GAP',
      message: expect.stringContaining(old),
    });
    await expect(
      connection.startReplication({ ...position, slot: 'late' }, new Recorder()).ended,
    ).rejects.toMatchObject({
      code: major >= 18 ? 'SLOT_INVALIDATED' : 'WAL_GAP',
    });
    await connection.dropSlot('late');
  });

  test('H-11 a cut connection and a peer gone silent are noticed; an idle one is not', async () => {
    const proxy = await Proxy.listen({ port: server.port });
    try {
      const cut = await connect(proxy.port);
      const { flushLsn: flushed } = await cut.identifySystem();
      const position = { lsn: segmentStart(flushed, MEGABYTE), timeline: 1 };
      const recorder = new Recorder();
      const first = cut.startReplication(position, recorder);
      while (recorder.chunks.length === 0) await sleep(10);
      expect(proxy.cut()).toBe(1);
      await expect(first.ended).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE', retriable: true });

      const silent = await connect(proxy.port, { receiveTimeout: 400 });
      const idle = new Recorder();
      let settled = false;
      const second = silent.startReplication(position, idle);
      void second.ended
        .catch(() => undefined)
        .finally(() => {
          settled = true;
        });
      await sleep(1200);
      expect(settled).toBe(false);
      expect(idle.keepalives).toBeGreaterThanOrEqual(3); // the replies that were asked for
      proxy.stall();
      expect(proxy.open).toBe(1);
      await expect(second.ended).rejects.toMatchObject({
        code: 'SERVER_UNREACHABLE',
        message: expect.stringContaining('not even a reply'),
      });
    } finally {
      await proxy.close();
    }
  });

  test('a command that is never answered has a deadline', async () => {
    const proxy = await Proxy.listen({ port: server.port });
    try {
      const silent = await connect(proxy.port, { receiveTimeout: 300 });
      proxy.stall();
      await expect(silent.identifySystem()).rejects.toMatchObject({
        code: 'SERVER_UNREACHABLE',
        message: expect.stringContaining('IDENTIFY_SYSTEM'),
      });
    } finally {
      await proxy.close();
    }
  });

  test('an abort ends what runs at once', async () => {
    const abort = new AbortController();
    const own = await connect(server.port, { signal: abort.signal });
    const stream = own.startReplication({ lsn: (await own.identifySystem()).flushLsn, timeline: 1 }, new Recorder());
    abort.abort();
    await expect(stream.ended).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(own.identifySystem()).rejects.toMatchObject({ code: 'ABORTED' });
    await own.close();
    const other = await connect(server.port);
    const pending = other.identifySystem();
    other.destroy();
    await expect(pending).rejects.toMatchObject({ code: 'ABORTED' });
    const closed = await connect(server.port);
    await closed.close();
    await closed.close();
    await expect(closed.identifySystem()).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('an administrator ends the session: SERVER_UNREACHABLE', async () => {
    const own = await connect(server.port);
    const stream = own.startReplication({ lsn: (await own.identifySystem()).flushLsn, timeline: 1 }, new Recorder());
    while (
      (await server.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication WHERE state = 'streaming'",
      )) === '0'
    )
      await sleep(10);
    await expect(stream.ended).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE', details: { sqlstate: '57P01' } });
  });

  test('H-03 a fast shutdown completes when flush = sent is reported', async () => {
    const own = await connect(server.port);
    const recorder = new Recorder();
    const stream = own.startReplication({ lsn: (await own.identifySystem()).flushLsn, timeline: 1 }, recorder);
    let replies = 0;
    recorder.onKeepalive = (replyRequested) => {
      if (!replyRequested) return;
      replies += 1;
      stream.status({ write: recorder.end, flush: recorder.end });
    };
    recorder.drained = () => {
      recorder.dirty = false;
      if (recorder.end > 0n) stream.status({ write: recorder.end, flush: recorder.end });
    };
    await load(server, 100);
    await recorder.until(await flushLsn(server));
    await server.stop('fast');
    await expect(stream.ended).resolves.toEqual({ reason: 'server-shutdown' });
    expect(replies).toBeLessThan(100);
    while (!server.log.includes('database system is shut down')) await sleep(10);
    // The last record is the checkpoint of the shutdown: it was streamed.
    expect(recorder.bytes.length).toBeGreaterThan(0);
    await expect(own.identifySystem()).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });
});
