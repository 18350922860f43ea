import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReplicationConnection } from '../../core/src/postgres/replication/connection.ts';
import type {
  BaseBackupHandlers,
  BaseBackupOptions,
  BackupStart,
} from '../../core/src/postgres/replication/base-backup.ts';
import { giveToServer, MAJORS, PostgresServer, removeFolder, temporaryFolder } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { connect } from '../support/replication.ts';

const ignore: BaseBackupHandlers = {
  start: () => undefined,
  archive: () => undefined,
  data: () => undefined,
  manifest: () => undefined,
  progress: () => undefined,
  notice: () => undefined,
  pressure: () => undefined,
};
const MEGABYTE = 1 << 20;
const quick: BaseBackupOptions = { label: 'test', checkpoint: 'fast', progress: false };

describe.each(MAJORS)('BASE_BACKUP of PostgreSQL %i', (major) => {
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
});
