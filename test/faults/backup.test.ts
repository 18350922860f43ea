import { closeSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ArchiveError, isArchiveError } from '@pgark/sdk';
import { expect, test } from 'vitest';
import { formatLsn, parseLsn } from '../../core/src/postgres/lsn.ts';
import { lastSegmentNumber, segmentName, segmentNumber } from '../../core/src/postgres/wal-file.ts';
import type { BackupRecord } from '../../core/src/repository/backup-record.ts';
import { TestArchive } from '../support/archive.ts';
import {
  at,
  backup,
  cleanup,
  cli,
  expectNothingCommitted,
  open,
  spawn,
  start,
  withCode,
} from '../support/backing-up.ts';
import { bound, Gate } from '../support/gate.ts';
import type { PostgresServer } from '../support/postgres.ts';
import { removeFolder } from '../support/postgres.ts';
import { Proxy } from '../support/proxy.ts';
import { Shipper, shipWal, systemIdOf } from '../support/ship-wal.ts';

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
