import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ReplicationConnection, type ReplicationOptions } from '../../core/src/postgres/replication/connection.ts';
import type {
  BaseBackupHandlers,
  BaseBackupOptions,
  BackupStart,
} from '../../core/src/postgres/replication/base-backup.ts';
import type { WalHandlers } from '../../core/src/postgres/replication/wal-stream.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import { segmentName, segmentNumber, segmentStart } from '../../core/src/postgres/wal-file.ts';
import { giveToServer, MAJORS, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { caughtUp, destroyStandby, promote, startStandby } from '../support/standby.ts';

const MEGABYTE = 1 << 20;

async function connect(port: number, options: ReplicationOptions = {}): Promise<ReplicationConnection> {
  const target = await resolveTarget(
    { url: `postgres://postgres@127.0.0.1:${port}/?sslmode=disable` },
    { env: {}, home: '/nonexistent' },
  );
  return ReplicationConnection.open(target, options);
}

/** Keeps what a stream hands over. */
class Recorder implements WalHandlers {
  readonly chunks: Buffer[] = [];
  start: bigint | undefined;
  end = 0n;
  keepalives = 0;
  drains = 0;
  /** Set when data came after the last `drained`. */
  dirty = false;
  onKeepalive: ((replyRequested: boolean) => void) | undefined;

  data(start: bigint, walEnd: bigint, chunk: Uint8Array): void {
    this.start ??= start;
    if (this.end !== 0n && start !== this.end) throw new Error('a hole in the stream');
    this.chunks.push(Buffer.from(chunk));
    this.end = start + BigInt(chunk.length);
    this.dirty = true;
    if (walEnd < this.end) throw new Error('beyond the WAL of the server');
  }

  keepalive(_: bigint, replyRequested: boolean): void {
    this.keepalives += 1;
    this.onKeepalive?.(replyRequested);
  }

  drained(): void {
    this.drains += 1;
    this.dirty = false;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  async until(lsn: bigint): Promise<void> {
    while (this.end < lsn || this.dirty) await sleep(10);
  }
}

async function flushLsn(server: PostgresServer): Promise<bigint> {
  return BigInt(await server.value("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"));
}

async function load(server: PostgresServer, rows = 20_000): Promise<void> {
  await server.query(`CREATE TABLE IF NOT EXISTS filler (number int, filler text)`);
  await server.query(`INSERT INTO filler SELECT n, repeat('x', 100) FROM generate_series(1, ${rows}) n`);
}

const ignore: BaseBackupHandlers = {
  start: () => undefined,
  archive: () => undefined,
  data: () => undefined,
  manifest: () => undefined,
  progress: () => undefined,
  notice: () => undefined,
  pressure: () => undefined,
};
const quick: BaseBackupOptions = { label: 'test', checkpoint: 'fast', progress: false };

describe.each(MAJORS)('PostgreSQL %i', (major) => {
  let server: PostgresServer;
  let connection: ReplicationConnection;
  let tablespace = '';

  beforeAll(async () => {
    server = await PostgresServer.start({
      major,
      segmentMegabytes: 1,
      settings: { min_wal_size: '2MB', max_wal_size: '2MB', max_slot_wal_keep_size: '2MB', wal_keep_size: '0' },
    });
    tablespace = temporaryFolder('tablespace');
    await server.query(`CREATE TABLESPACE side LOCATION '${tablespace}'`);
    await server.query('CREATE TABLE aside TABLESPACE side AS SELECT generate_series(1, 10000) n');
    connection = await connect(server.port);
  });

  afterAll(async () => {
    await connection.close();
    await server.destroy();
    removeFolder(tablespace);
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

  test('a base backup: archives of each tablespace, manifest, progress, positions', async () => {
    const digests = new Map<string, { location: string; bytes: number; head: Buffer }>();
    const manifest: Buffer[] = [];
    let started: BackupStart | undefined;
    let present = '';
    let done = 0;
    const result = await connection.baseBackup(
      { label: "it's a \\ test", checkpoint: 'fast', progress: true, maxRate: 1_048_576 },
      {
        ...ignore,
        start: (info) => {
          started = info;
        },
        archive: (name, location) => {
          present = name;
          digests.set(name, { location, bytes: 0, head: Buffer.alloc(0) });
        },
        manifest: () => {
          present = 'manifest';
        },
        data: (chunk) => {
          const archive = digests.get(present);
          if (archive === undefined) manifest.push(Buffer.from(chunk));
          else {
            archive.bytes += chunk.length;
            if (archive.head.length < 1024) archive.head = Buffer.concat([archive.head, chunk]);
          }
        },
        progress: (bytes) => {
          done = bytes;
        },
      },
    );
    const oid = await server.value("SELECT oid FROM pg_tablespace WHERE spcname = 'side'");
    expect(started).toMatchObject({
      timeline: 1,
      tablespaces: [
        { oid: Number(oid), location: tablespace },
        { oid: undefined, location: undefined },
      ],
    });
    for (const { sizeKb } of started?.tablespaces ?? []) expect(sizeKb).toBeGreaterThan(100);
    expect([...digests.keys()]).toEqual([`${oid}.tar`, 'base.tar']);
    expect(digests.get(`${oid}.tar`)?.location).toBe(tablespace);
    expect(digests.get('base.tar')?.location).toBe('');
    expect(digests.get('base.tar')?.head.toString('latin1')).toMatch(/^backup_label[^]*LABEL: it's a \\ test\n/);
    expect(done).toBeGreaterThan(20 * MEGABYTE);
    expect(result.stopTimeline).toBe(1);
    expect(result.checksumFailure).toBeUndefined();
    expect(result.stopLsn).toBeGreaterThan(started?.lsn ?? 0n);
    // The manifest is whole: its last line is the SHA-256 of all that is before it.
    const text = Buffer.concat(manifest).toString('latin1');
    const [, body = '', checksum] = /^([^]*\n)"Manifest-Checksum": "([0-9a-f]{64})"\}\n$/.exec(text) ?? [];
    expect(createHash('sha256').update(body, 'latin1').digest('hex')).toBe(checksum);
    expect(text).toContain('"Checksum-Algorithm": "SHA256"');
    expect((await connection.identifySystem()).timeline).toBe(1);
  });

  test('a label or a rate that cannot be is refused before it is sent', async () => {
    await expect(connection.baseBackup({ ...quick, label: 'a\nb' }, ignore)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(connection.baseBackup({ ...quick, maxRate: 0 }, ignore)).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('back-pressure: while the reader is busy at most one read is handed over', async () => {
    let pending = false;
    let during = 0;
    let pauses = 0;
    const result = await connection.baseBackup(quick, {
      ...ignore,
      data: (chunk) => {
        if (pending) during += chunk.length;
      },
      pressure: () => {
        if (pauses >= 5) return undefined;
        pauses += 1;
        pending = true;
        during = 0;
        return sleep(50).then(() => {
          pending = false;
          expect(during).toBeLessThanOrEqual(512 * 1024);
          return undefined;
        });
      },
    });
    expect(pauses).toBe(5);
    expect(result.stopTimeline).toBe(1);
    await expect(
      connection.baseBackup(quick, { ...ignore, pressure: () => Promise.reject(new Error('storage gone')) }),
    ).rejects.toThrow('storage gone');
    connection = await connect(server.port);
  });

  test('H-30 an error in the middle of a base backup rejects, and the connection goes on', async () => {
    let cancelled: Promise<unknown> | undefined;
    let bytes = 0;
    const backup = connection.baseBackup(
      { ...quick, maxRate: 1024 },
      {
        ...ignore,
        data: (chunk) => {
          bytes += chunk.length;
          cancelled ??= server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'",
          );
        },
      },
    );
    await expect(backup).rejects.toMatchObject({ code: 'SERVER_ERROR', details: { sqlstate: '57014' } });
    await cancelled;
    expect(bytes).toBeGreaterThan(0);
    expect((await connection.identifySystem()).timeline).toBe(1);
  });

  test('H-30 a connection that ends in the middle of a base backup rejects', async () => {
    const proxy = await Proxy.listen({ port: server.port });
    try {
      const own = await connect(proxy.port);
      let cut = 0;
      const backup = own.baseBackup(
        { ...quick, maxRate: 1024 },
        {
          ...ignore,
          data: () => {
            if (cut === 0) cut = proxy.cut();
          },
        },
      );
      await expect(backup).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
      expect(cut).toBe(1);
    } finally {
      await proxy.close();
    }
  });

  test('H-36 damaged pages: notices name the file, the result says that the backup is suspect', async () => {
    await server.query('CREATE TABLE damaged AS SELECT generate_series(1, 10000) n');
    await server.query('CHECKPOINT');
    const path = await server.value("SELECT pg_relation_filepath('damaged')");
    execFileSync('dd', [
      `of=${join(server.data, path)}`,
      'bs=1',
      'seek=9000',
      'count=64',
      'conv=notrunc',
      'if=/dev/zero',
      'status=none',
    ]);
    const notices: string[] = [];
    let bytes = 0;
    const result = await connection.baseBackup(quick, {
      ...ignore,
      data: (chunk) => {
        bytes += chunk.length;
      },
      notice: (message) => {
        notices.push(message);
      },
    });
    expect(result.checksumFailure).toContain('checksum verification failure');
    expect(notices.join('\n')).toContain(path);
    expect(bytes).toBeGreaterThan(20 * MEGABYTE);
    await expect(connection.baseBackup({ ...quick, verifyChecksums: false }, ignore)).resolves.not.toHaveProperty(
      'checksumFailure',
    );
    await server.query('DROP TABLE damaged');
  });

  test('an unreadable file fails the base backup with the text of the server', async () => {
    const folder = join(server.data, 'base', 'closed');
    mkdirSync(folder);
    giveToServer(folder);
    chmodSync(folder, 0);
    try {
      await expect(connection.baseBackup(quick, ignore)).rejects.toMatchObject({
        code: 'SERVER_ERROR',
        message: expect.stringContaining('closed'),
      });
    } finally {
      execFileSync('rmdir', [folder]);
    }
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
