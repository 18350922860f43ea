/** Backups whose bytes are altered or cut on their way from the server. */
import { createHash } from 'node:crypto';
import { chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { crc32c } from '../../core/src/postgres/crc32c.ts';
import { backup, cleanup, expectNothingCommitted, open, start, withCode } from '../support/backing-up.ts';
import { giveToServer } from '../support/postgres.ts';
import { Shipper, systemIdOf } from '../support/ship-wal.ts';
import { readFiles, readManifestText } from '../support/unpack-backup.ts';

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
