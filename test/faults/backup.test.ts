import { createHash } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { ArchiveError, isArchiveError, type ErrorCode } from '@pgark/sdk';
import { afterEach, expect, test } from 'vitest';
import { takeBackup, type BackupOptions, type BackupProgress } from '../../core/src/backup/backup.ts';
import { crc32c } from '../../core/src/postgres/crc32c.ts';
import { formatLsn, parseLsn } from '../../core/src/postgres/lsn.ts';
import { resolveTarget } from '../../core/src/postgres/target.ts';
import { lastSegmentNumber, segmentName, segmentNumber } from '../../core/src/postgres/wal-file.ts';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { TestArchive } from '../support/archive.ts';
import { serverUser } from '../support/binaries.ts';
import { runCli, spawnCli, type CliChild, type CliResult } from '../support/cli.ts';
import { bound, Gate } from '../support/gate.ts';
import { fsRepository, type FsRepositoryOptions } from '../support/fs-repository.ts';
import { giveToServer, PostgresServer, removeFolder, temporaryFolder, type InitOptions } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { KEEP_WAL, Shipper, shipWal, systemIdOf } from '../support/ship-wal.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { readFiles, readManifestText } from '../support/unpack-backup.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).toReversed()) await undo();
});

const withCode = (code: ErrorCode): unknown => expect.toSatisfy((error) => isArchiveError(error, code), code);

/** A server with more data than fits between it and a storage that takes nothing. */
async function start(options: InitOptions = {}): Promise<PostgresServer> {
  const settings = { ...KEEP_WAL, autovacuum: 'off', ...options.settings };
  const server = await PostgresServer.start({ major: 17, segmentMegabytes: 1, ...options, settings });
  cleanup.push(() => server.destroy());
  await server.query(`CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) AS m FROM generate_series(1, 25000) n`);
  await server.query('CHECKPOINT');
  return server;
}

interface Opened {
  readonly repository: Repository;
  readonly folder: string;
}

async function open(options: FsRepositoryOptions = {}): Promise<Opened> {
  const parent = temporaryFolder('backup');
  cleanup.push(() => {
    removeFolder(parent);
  });
  const folder = join(parent, 'repository');
  return { repository: await fsRepository(folder, options), folder };
}

async function backup(
  server: { readonly port: number },
  repository: Repository,
  options: Partial<BackupOptions> = {},
): Promise<BackupRecord> {
  const url = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
  const target = await resolveTarget({ url }, { env: {}, home: '/' });
  const common = { target, repository, checkpoint: 'fast', logger: silentLogger, walTimeout: 30_000 } as const;
  return takeBackup({ ...common, partSize: 4 << 20, ...options });
}

/** Nothing of it can be taken for a backup, and no object is shown that is not whole. */
async function expectNothingCommitted(server: PostgresServer, { repository, folder }: Opened): Promise<void> {
  const catalog = repository.backups(await systemIdOf(server));
  const states = (await catalog.list()).map(({ state }) => state);
  expect(states.filter((state) => state !== 'incomplete')).toEqual([]);
  expect(leftovers(folder)).toEqual([]);
}

/** Temporary files of the storage that are still there. */
function leftovers(folder: string): readonly string[] {
  const temporary = join(folder, '.pgark-tmp');
  return existsSync(temporary) ? readdirSync(temporary) : [];
}

/** Calls back once, when the stage is reached and so many bytes are through. */
function at(stage: BackupProgress['stage'], bytes: number, act: () => void): (progress: BackupProgress) => void {
  let done = false;
  return (progress) => {
    if (done || progress.stage !== stage || progress.bytes < bytes) return;
    done = true;
    act();
  };
}

/** As the user of the server, like every command of the archive. */
function cli(archive: TestArchive, args: readonly string[]): Promise<CliResult> {
  return runCli(['--config', archive.config, ...args], { ...serverUser() });
}

function spawn(archive: TestArchive, args: readonly string[]): CliChild {
  return spawnCli(['--config', archive.config, ...args], { ...serverUser() });
}

test('H-30 a connection cut in the middle commits nothing, and the next backup is whole', async () => {
  const server = await start();
  const opened = await open();
  const proxy = await Proxy.listen(server);
  cleanup.push(() => proxy.close());
  let cut = 0;
  const events: string[] = [];
  const failed = backup(proxy, opened.repository, {
    maxRate: 20_000,
    onProgress: at('copying', 8 << 20, () => (cut = proxy.cut())),
    onEvent: (name) => events.push(name),
  });
  await expect(failed).rejects.toEqual(withCode('SERVER_UNREACHABLE'));
  expect(cut).toBe(1);
  expect(events).toEqual(['backup.started', 'backup.failed']);
  await expectNothingCommitted(server, opened);
  expect((await opened.repository.backups(await systemIdOf(server)).list()).length).toBe(1);

  const shipper = new Shipper(server, opened.repository);
  cleanup.push(() => shipper.stop());
  const record = await backup(proxy, opened.repository);
  const listed = await opened.repository.backups(record.systemId).list();
  // Both may have begun in the same second, in which ids are in no order.
  expect(listed.map(({ state }) => state).sort()).toEqual(['complete', 'incomplete']);
  expect(listed.find(({ state }) => state === 'complete')?.id).toBe(record.id);
});

test('H-30 a storage that fails in the middle fails the backup with its own error', async () => {
  const server = await start();
  let puts = 0;
  const opened = await open({
    wrap: (storage) => ({
      ...bound(storage),
      put: async (key, body, options) => {
        if (!key.includes('/base/0002')) return storage.put(key, body, options);
        for await (const chunk of body) {
          puts += chunk.byteLength > 0 ? 1 : 0;
          break;
        }
        throw new ArchiveError('STORAGE_FULL', 'the storage has no space left for this');
      },
    }),
  });
  await expect(backup(server, opened.repository)).rejects.toEqual(withCode('STORAGE_FULL'));
  expect(puts).toBe(1);
  await expectNothingCommitted(server, opened);
  // The connection was not left behind.
  await expect.poll(() => server.value('SELECT count(*) FROM pg_stat_replication'), { timeout: 10_000 }).toBe('0');
});

test('H-30 a server that dies in the middle fails the backup', async () => {
  const server = await start();
  const systemId = await systemIdOf(server);
  const opened = await open();
  let killed = false;
  const failed = backup(server, opened.repository, {
    maxRate: 20_000,
    onProgress: at('copying', 8 << 20, () => {
      killed = true;
      void server.kill();
    }),
  });
  await expect(failed).rejects.toEqual(withCode('SERVER_UNREACHABLE'));
  expect(killed).toBe(true);
  const states = (await opened.repository.backups(systemId).list()).map(({ state }) => state);
  expect(states).toEqual(['incomplete']);
});

test.each(['copying', 'waiting'] as const)(
  'an abort while %s ends at once and leaves only an incomplete backup',
  async (stage) => {
    const server = await start();
    const opened = await open();
    const controller = new AbortController();
    const failed = backup(server, opened.repository, {
      ...(stage === 'copying' ? { maxRate: 20_000 } : {}),
      signal: controller.signal,
      onProgress: at(stage, 8 << 20, () => controller.abort()),
    });
    await expect(failed).rejects.toEqual(withCode('ABORTED'));
    expect(controller.signal.aborted).toBe(true);
    await expectNothingCommitted(server, opened);
  },
);

test('H-31 WAL that never arrives: the backup is not complete, and says what is missing and what to start', async () => {
  const server = await start();
  const opened = await open();
  const error: unknown = await backup(server, opened.repository, { walTimeout: 600 }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toEqual(withCode('BACKUP_WAL_TIMEOUT'));
  if (!isArchiveError(error)) throw error;
  expect(error.message).toMatch(/^0{7}1[0-9A-F]{16}/);
  expect(error.hint).toContain('pgark receive');
  await expectNothingCommitted(server, opened);
});

test('H-31 each segment of the backup is waited for, the last one too', async () => {
  const server = await start();
  const gate = new Gate();
  const opened = await open({ wrap: gate.wrap });
  const awaited = new Set<string>();
  const running = backup(server, opened.repository, {
    onProgress: (progress) => {
      if (progress.stage === 'copying' && progress.bytes > 4 << 20) void fill();
      if (progress.wal?.awaited !== undefined) awaited.add(progress.wal.awaited);
    },
  });
  let filling: Promise<unknown> | undefined;
  // Three segments more while the backup stands still.
  const fill = (): Promise<unknown> =>
    (filling ??= (async () => {
      for (let round = 0; round < 3; round++)
        await server.query(`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000)), pg_switch_wal()`);
      gate.open();
    })());
  await expect.poll(() => awaited.size, { timeout: 30_000 }).toBe(1);
  const archive = opened.repository.wal(await systemIdOf(server));
  const names = readdirSync(join(server.data, 'pg_wal'))
    .filter((name) => /^[0-9A-F]{24}$/.test(name))
    .sort();
  let done = false;
  void running.then(() => (done = true));
  // One segment after the other, from the awaited one on: only the last one ends the wait.
  const [first = ''] = awaited;
  let shipped = 0;
  for (const name of names.filter((segment) => segment >= first)) {
    if (done) break;
    expect([...awaited]).toContain(name);
    await archive.push(name, { path: join(server.data, 'pg_wal', name) });
    shipped++;
    await expect.poll(() => done || !([...awaited].at(-1) === name), { timeout: 10_000 }).toBe(true);
  }
  const record = await running;
  const [from, to] = [record.startLsn, record.stopLsn].map(parseLsn) as [bigint, bigint];
  const wanted = lastSegmentNumber(to, record.segmentSize) - segmentNumber(from, record.segmentSize) + 1n;
  expect(wanted).toBeGreaterThanOrEqual(4n);
  expect(BigInt(shipped)).toBe(wanted);
  expect([...awaited].at(-1)).toBe(segmentName(1, lastSegmentNumber(to, record.segmentSize), record.segmentSize));
});

/** Writes WAL until the next record of `length` bytes ends exactly on a segment border. */
async function moveBeforeBorder(server: PostgresServer, length: number): Promise<bigint> {
  const segment = 1n << 20n;
  const client = await server.client();
  const position = async (): Promise<bigint> => {
    const { rows } = await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn');
    return parseLsn(rows[0]?.lsn ?? '');
  };
  const write = async (bytes: number): Promise<void> => {
    await client.query(`SELECT pg_logical_emit_message(false, '', repeat('x', $1))`, [bytes]);
  };
  try {
    // The position given is that before the record, plus any page header: measure the overhead inside one page.
    await client.query('SELECT pg_switch_wal()');
    await write(100);
    const before = await position();
    await write(504);
    const overhead = Number((await position()) - before) - 504;
    const border = ((await position()) / segment + 1n) * segment;
    for (;;) {
      const left = Number(border - (await position())) - length;
      if (left === 0) return border;
      if (left < 0) throw new Error(`overshot the border by ${-left} bytes`);
      // Into the last page with room to spare, then exactly; a record has at least its overhead.
      const exact = left < 8192 - 64;
      await write(exact ? (left > 2000 ? 1000 : left - overhead) : Math.min(left - 6000, 60_000));
    }
  } finally {
    await client.end();
  }
}

test('H-31 a backup that stops on a segment border needs the segment before it, not the one after', async () => {
  const server = await start();
  const gate = new Gate();
  const opened = await open({ wrap: gate.wrap });
  let moved: Promise<bigint> | undefined;
  const running = backup(server, opened.repository, {
    onProgress: ({ stage, bytes }) => {
      if (stage !== 'copying' || bytes < 4 << 20 || moved !== undefined) return;
      // The record that ends a backup has 40 bytes with its alignment (XLOG_BACKUP_END: a header of 24, 2, and an LSN).
      moved = moveBeforeBorder(server, 40).finally(gate.open);
    },
  });
  const shipper = new Shipper(server, opened.repository);
  cleanup.push(() => shipper.stop());
  const record = await running;
  expect(record.stopLsn).toBe(formatLsn((await moved) ?? 0n));
  expect(parseLsn(record.stopLsn) % (1n << 20n)).toBe(0n);
  // The segment that begins at the stop is not even complete: waiting for it would never have ended.
  await shipWal(server, opened.repository);
  const after = segmentName(1, segmentNumber(parseLsn(record.stopLsn), 1 << 20), 1 << 20);
  expect(await opened.repository.wal(record.systemId).find(after)).toBeUndefined();
});

test('H-36 damaged pages make the backup suspect, with the files named; it is kept and listed as such', async () => {
  const server = await start({ major: 18 });
  const path = await server.value(`SELECT pg_relation_filepath('big')`);
  await server.stop();
  const file = openSync(join(server.data, path), 'r+');
  for (const page of [3, 7]) writeSync(file, 'damage', page * 8192 + 4000);
  closeSync(file);
  await server.start();

  const archive = new TestArchive(server);
  cleanup.push(() => {
    archive.destroy();
  });
  const receiver = await archive.receive(server);
  cleanup.push(() => receiver.kill());
  const result = await cli(archive, ['--json', 'backup', '--checkpoint', 'fast']);
  expect(result.code).toBe(4);
  expect(result.stderr).toContain('BACKUP_SUSPECT');
  const record = JSON.parse(result.stdout) as BackupRecord;
  expect(record.suspect?.files).toEqual([path]);
  expect(record.suspect?.message).toContain('checksum');
  expect(await archive.run(['list'])).toMatch(new RegExp(`${record.id} .*SUSPECT`));
  const shown = await archive.run(['show', 'latest']);
  expect(shown).toContain(`damaged     ${path}`);
});

/** What to do with the first chunk that holds the mark at `at`: change it in place, or send nothing from there on. */
type Meddle = (chunk: Buffer, at: number) => 'send' | 'cut' | 'wait';

const cut: Meddle = () => 'cut';
const flip: Meddle = (chunk, at) => {
  chunk[at + 1] = (chunk[at + 1] ?? 0) ^ 1;
  return 'send';
};

/** Forwards a server's bytes, but for one meddling. `wait` wants the same mark with more bytes behind it. */
async function meddlingProxy(
  port: number,
  mark: string | Buffer,
  meddle: Meddle,
): Promise<{ readonly port: number; readonly meddled: () => number }> {
  let meddled = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.pipe(upstream);
    let held = Buffer.alloc(0);
    upstream.on('data', (bytes: Buffer) => {
      const chunk = Buffer.concat([held, bytes]);
      held = Buffer.alloc(0);
      const found = meddled === 0 ? chunk.indexOf(mark) : -1;
      const act = found < 0 ? 'send' : meddle(chunk, found);
      if (act === 'wait') {
        held = chunk;
        return;
      }
      if (found >= 0) meddled++;
      if (act === 'cut') {
        client.end(chunk.subarray(0, found));
        upstream.destroy();
        return;
      }
      client.write(chunk);
    });
    upstream.on('close', () => client.end());
    client.on('close', () => upstream.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { port: address.port, meddled: () => meddled };
}

test.each([
  { where: 'between the archives and the manifest', mark: '{ "PostgreSQL-Backup-Manifest-Version"' },
  { where: 'in the manifest', mark: '"Path": "global/pg_control"' },
  { where: 'in the very end mark of the manifest', mark: '"Manifest-Checksum"' },
])('H-30 a stream that ends cleanly $where is no end', async ({ mark }) => {
  const server = await start();
  const opened = await open();
  const proxy = await meddlingProxy(server.port, mark, cut);
  await expect(backup(proxy, opened.repository)).rejects.toEqual(withCode('SERVER_UNREACHABLE'));
  expect(proxy.meddled()).toBe(1);
  await expectNothingCommitted(server, opened);
  const catalog = opened.repository.backups(await systemIdOf(server));
  expect((await catalog.list()).length).toBe(1);
});

test('a bit that flips on the way is caught by the manifest, and the file is named', async () => {
  const server = await start();
  const path = join(server.data, 'marked');
  // So many marks that at least one lies within one read of the socket.
  writeFileSync(path, 'the-mark-of-this-test '.repeat(5000));
  giveToServer(path);
  const opened = await open();
  const proxy = await meddlingProxy(server.port, 'the-mark-of-this-test', flip);
  const error: unknown = await backup(proxy, opened.repository).catch((reason: unknown) => reason);
  expect(proxy.meddled()).toBe(1);
  expect(error).toEqual(withCode('BACKUP_CORRUPT'));
  expect(String(error)).toContain('marked has another SHA-256');
  await expectNothingCommitted(server, opened);
});

test('a bit that flips in the manifest is caught by its own checksum', async () => {
  const server = await start();
  const opened = await open();
  const proxy = await meddlingProxy(server.port, '"Path": "PG_VERSION"', flip);
  const error: unknown = await backup(proxy, opened.repository).catch((reason: unknown) => reason);
  expect(proxy.meddled()).toBe(1);
  expect(error).toEqual(withCode('BACKUP_CORRUPT'));
  await expectNothingCommitted(server, opened);
});

test('H-34 a control file altered so that no CRC shows it is caught by its SHA-256', async () => {
  const server = await start();
  const opened = await open();
  const original = readFileSync(join(server.data, 'global/pg_control'));
  const mark = original.subarray(0, 16); // system identifier and versions
  const crcs: number[] = [];
  const proxy = await meddlingProxy(server.port, mark, (chunk, at) => {
    if (chunk.byteLength < at + 512) return 'wait';
    const file = chunk.subarray(at, at + 512);
    crcs.push(crc32c(file));
    file.writeBigUInt64LE(file.readBigUInt64LE(64) + 1000n, 64); // the next transaction id
    file.writeUInt32LE(crc32c(file.subarray(0, 288)), 288);
    crcs.push(crc32c(file));
    return 'send';
  });
  const error: unknown = await backup(proxy, opened.repository).catch((reason: unknown) => reason);
  expect(proxy.meddled()).toBe(1);
  expect(crcs[0]).toBe(crcs[1]); // what a manifest of CRC32C would compare
  expect(error).toEqual(withCode('BACKUP_CORRUPT'));
  expect(String(error)).toContain('global/pg_control has another SHA-256');
  await expectNothingCommitted(server, opened);
});

test('H-35 a manifest is kept as the server wrote it, with names that are no text and a number beyond 2^53', async () => {
  const server = await start();
  const name = Buffer.concat([Buffer.from(`${server.data}/odd-`), Buffer.of(0xff, 0xfe)]);
  writeFileSync(name, 'odd');
  const { uid, gid } = statSync(server.data);
  chownSync(name, uid, gid);
  const { repository } = await open();
  const shipper = new Shipper(server, repository);
  cleanup.push(() => shipper.stop());
  const record = await backup(server, repository);
  const text = await readManifestText(repository, record);
  expect(text).toContain(`"Encoded-Path": "${Buffer.from('odd-').toString('hex')}fffe"`);
  expect(text).toContain(`\n"System-Identifier": ${record.systemId},\n`);
  expect(BigInt(record.systemId)).toBeGreaterThan(BigInt(Number.MAX_SAFE_INTEGER));
  const last = text.indexOf('"Manifest-Checksum": "');
  expect(text.slice(last)).toBe(
    `"Manifest-Checksum": "${createHash('sha256').update(text.slice(0, last)).digest('hex')}"}\n`,
  );
  const files = await readFiles(repository, record);
  expect(files.find(({ path }) => path.startsWith('odd-'))?.path).toBe('odd-\udcff\udcfe');
});

test('without a receiver the operator is told within seconds what to start; then the backup finishes', async () => {
  const server = await start();
  const archive = new TestArchive(server);
  cleanup.push(() => {
    archive.destroy();
  });
  const running = spawn(archive, ['backup', '--checkpoint', 'fast']);
  cleanup.push(() => running.kill('SIGKILL'));
  const [told] = await running.waitFor(
    /not complete before 0{7}1[0-9A-F]{16} is archived\. Check that "pgark receive" runs/,
  );
  expect(told).toBeDefined();
  expect(running.stderr()).toMatch(/waiting for the archive to hold 0{7}1[0-9A-F]{16}/);
  const receiver = await archive.receive(server);
  cleanup.push(() => receiver.kill());
  const result = await running.ended;
  expect(result.code).toBe(0);
  expect(result.stdout).toMatch(/^backup \S+ is complete\n/);
  expect(result.stdout).toMatch(/ratio \d+\.\d/);
});

test('H-30 an interrupted command leaves no backup, and "no backups" is a failure', async () => {
  const server = await start();
  const archive = new TestArchive(server);
  cleanup.push(() => {
    archive.destroy();
  });
  const none = await cli(archive, ['--json', 'list']);
  expect(none.code).toBe(1);
  expect(JSON.parse(none.stdout)).toEqual([]);
  expect(none.stderr).toContain('BACKUP_NOT_FOUND');

  const running = spawn(archive, ['backup', '--checkpoint', 'fast', '--max-rate', '4MB', '--part-size', '1MB']);
  cleanup.push(() => running.kill('SIGKILL'));
  // In the middle: some parts are stored, others are not.
  const parts = (): number =>
    readdirSync(archive.repository, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /base\/\d{4}\.tar/.test(name),
    ).length;
  await expect.poll(parts, { timeout: 30_000 }).toBeGreaterThan(1);
  running.kill('SIGTERM');
  const result = await running.ended;
  expect(result.code).toBe(1);
  expect(result.stdout).toBe('');
  const listed = await cli(archive, ['list']);
  expect(listed.code).toBe(1);
  expect(listed.stdout).toMatch(/incomplete/);
  expect(listed.stderr).toContain('no complete backup');
  expect(listed.stderr).toContain('pgark backup');
  const shown = await cli(archive, ['show', 'latest']);
  expect(shown.code).toBe(1);
});

test('show says when the WAL of a backup is gone from the archive', async () => {
  const server = await start();
  const archive = new TestArchive(server);
  cleanup.push(() => {
    archive.destroy();
  });
  const receiver = await archive.receive(server);
  const facts = await archive.backup(['--checkpoint', 'fast']);
  expect(await archive.run(['show', facts.id])).toContain('all archived');
  await receiver.stop();
  const name = segmentName(1, segmentNumber(parseLsn(facts.startLsn), 1 << 20), 1 << 20);
  const folder = join(archive.systemFolder, 'wal', name.slice(0, 8), name.slice(8, 16));
  const object = readdirSync(folder).find((file) => file.startsWith(`${name}-`));
  expect(object).toBeDefined();
  removeFolder(join(folder, object ?? ''));
  const shown = await cli(archive, ['show', 'latest']);
  expect(shown.code).toBe(1);
  expect(shown.stdout).toContain(`MISSING     ${name} to ${name}`);
});
