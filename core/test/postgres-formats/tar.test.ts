import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesToText } from '../../src/postgres/lossless-text.ts';
import {
  TAR_BLOCK,
  TAR_END,
  tarHeader,
  tarPadding,
  TarReader,
  type TarEntry,
  type TarHeader,
} from '../../src/postgres/tar.ts';
import { failure } from './failure.ts';

interface Item {
  readonly header: TarHeader;
  readonly data: Buffer;
}

function write(items: readonly { readonly entry: TarEntry; readonly data: Uint8Array }[]): Buffer {
  const parts = items.flatMap(({ entry, data }) => [tarHeader(entry), data, Buffer.alloc(tarPadding(data.byteLength))]);
  return Buffer.concat([...parts, TAR_END]);
}

function read(chunks: Iterable<Uint8Array>): Item[] {
  const items: Item[] = [];
  let header: TarHeader | undefined;
  let data: Buffer[] = [];
  const reader = new TarReader(
    {
      entry(next, raw) {
        expect(header).toBeUndefined();
        expect(raw.byteLength).toBe(TAR_BLOCK);
        header = next;
        data = [];
      },
      data: (chunk) => void data.push(Buffer.from(chunk)),
      entryEnd() {
        if (header === undefined) throw new Error('an entry ended that did not begin');
        items.push({ header, data: Buffer.concat(data) });
        header = undefined;
      },
    },
    'base.tar',
  );
  for (const chunk of chunks) reader.push(chunk);
  reader.end();
  return items;
}

function refused(bytes: Uint8Array): string {
  const error = failure(() => read([bytes]));
  expect(error.code).toBe('BACKUP_CORRUPT');
  expect(error.message).toMatch(/^base\.tar /);
  return error.message;
}

/** A header with some bytes replaced and its checksum made right again. */
function altered(entry: TarEntry, change: (raw: Buffer) => void): Buffer {
  const raw = Buffer.from(tarHeader(entry));
  change(raw);
  raw.fill(' ', 148, 156);
  const sum = raw.reduce((total, byte) => total + byte, 0);
  raw.write(`${sum.toString(8).padStart(7, '0')} `, 148, 'latin1');
  return raw;
}

const FILE: TarEntry = { path: 'base/1/2', type: 'file', size: 0, mode: 0o600, mtime: 1795244479 };

const part = fc
  .uint8Array({ minLength: 1, maxLength: 12 })
  .map((bytes) => bytesToText(bytes.filter((byte) => byte !== 0 && byte !== 0x2f)))
  .filter((text) => text !== '' && text !== '.' && text !== '..');
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const item = fc
  .record({
    path,
    type: fc.constantFrom('file', 'file', 'directory', 'symlink'),
    data: fc.oneof(
      fc.uint8Array({ maxLength: 1100 }),
      fc.constantFrom(512, 1024).map((size) => new Uint8Array(size)),
    ),
    mode: fc.nat(0o7777),
    mtime: fc.oneof(fc.nat(2 ** 31 - 1), fc.constantFrom(0, 2 ** 33, 2 ** 40)),
    uid: fc.oneof(fc.nat(70_000), fc.constant(2 ** 31)),
    target: part,
  })
  .map(({ path, type, data, mode, mtime, uid, target }) => {
    const bytes = type === 'file' ? data : new Uint8Array();
    const entry = { path, type, size: bytes.byteLength, mode, mtime, uid, gid: 7 } as const;
    return { entry: type === 'symlink' ? { ...entry, linkTarget: `/${target}` } : entry, data: bytes };
  });

describe('a tar archive', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 6 }), fc.integer({ min: 1, max: 2000 }), (items, size) => {
        const bytes = write(items);
        const chunks: Uint8Array[] = [];
        for (let at = 0; at < bytes.byteLength; at += size) chunks.push(bytes.subarray(at, at + size));
        expect(read(chunks)).toEqual(items.map(({ entry, data }) => ({ header: entry, data: Buffer.from(data) })));
      }),
    );
  });

  test('is read the same, split at every border, and byte by byte', () => {
    const bytes = write([
      { entry: { ...FILE, size: 700 }, data: Buffer.alloc(700, 'x') },
      { entry: { ...FILE, path: 'base', type: 'directory' }, data: new Uint8Array() },
      { entry: { ...FILE, path: 'empty' }, data: new Uint8Array() },
      { entry: { ...FILE, path: 'pg_tblspc/1', type: 'symlink', linkTarget: '/t' }, data: new Uint8Array() },
      { entry: { ...FILE, path: 'whole', size: 512 }, data: Buffer.alloc(512) },
    ]);
    const expected = read([bytes]);
    expect(expected.map(({ header }) => header.path)).toEqual(['base/1/2', 'base', 'empty', 'pg_tblspc/1', 'whole']);
    for (let at = 0; at <= bytes.byteLength; at++)
      expect(read([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(expected);
    expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(expected);
  });

  test('H-30 cut short anywhere is refused', () => {
    const bytes = write([
      { entry: { ...FILE, size: 700 }, data: Buffer.alloc(700, 'x') },
      { entry: { ...FILE, path: 'last' }, data: new Uint8Array() },
    ]);
    for (let length = 0; length < bytes.byteLength; length++)
      expect(failure(() => read([bytes.subarray(0, length)])).code).toBe('BACKUP_CORRUPT');
    expect(failure(() => read([bytes.subarray(0, 800)])).message).toBe(
      'base.tar ends inside base/1/2, 412 bytes before its end',
    );
  });

  test('may have more zeroes after its end, and nothing else', () => {
    const bytes = write([{ entry: FILE, data: new Uint8Array() }]);
    expect(read([bytes, Buffer.alloc(9000)]).length).toBe(1);
    expect(refused(Buffer.concat([bytes, Buffer.alloc(10), Buffer.of(1)]))).toContain('after its end mark');
    expect(refused(Buffer.concat([Buffer.alloc(TAR_BLOCK), bytes]))).toContain('after a zero block');
  });

  test('keeps sizes above 8 GiB', () => {
    const size = 9 * 2 ** 30 + 5;
    let seen: TarHeader | undefined;
    const reader = new TarReader(
      { entry: (header) => void (seen = header), data: () => undefined, entryEnd: () => undefined },
      'base.tar',
    );
    reader.push(tarHeader({ ...FILE, size }));
    expect(seen?.size).toBe(size);
    expect(failure(() => reader.end()).message).toContain(`${size} bytes before its end`);
  });

  test('H-39 names that lead out of the folder, or to two places, are refused', () => {
    for (const name of [
      '/etc/passwd',
      '../x',
      'a/../../x',
      'a/..',
      'a//b',
      './../x',
      '.',
      './',
      'a/./b',
      '././a',
      '/',
      'a/',
    ])
      refused(altered(FILE, (raw) => raw.fill(0, 0, 100).write(name, 0)));
    for (const path of ['/a', '../a', '', 'a/'])
      expect(failure(() => tarHeader({ ...FILE, path })).code).toBe('BACKUP_CORRUPT');
  });

  test('takes the names that servers write with a leading "./"', () => {
    const directory: TarEntry = { ...FILE, path: 'pg_wal/archive_status', type: 'directory' };
    const raw = altered(directory, (bytes) => bytes.fill(0, 0, 100).write('./pg_wal/archive_status/', 0));
    expect(read([raw, TAR_END])[0]?.header.path).toBe('pg_wal/archive_status');
  });

  test('H-39 an altered header is refused', () => {
    const raw = tarHeader({ ...FILE, size: 100 });
    fc.assert(
      fc.property(fc.nat(TAR_BLOCK - 1), fc.nat(7), (offset, bit) => {
        const bytes = Buffer.from(raw);
        bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
        expect(failure(() => read([bytes, Buffer.alloc(TAR_BLOCK), TAR_END])).code).toBe('BACKUP_CORRUPT');
      }),
    );
    const second = Buffer.concat([raw, Buffer.alloc(TAR_BLOCK), Buffer.alloc(TAR_BLOCK, 7)]);
    expect(refused(second)).toBe('base.tar has no valid header at offset 1024');
    for (const size of [1, 511, 700, 1500]) {
      const chunks = [second.subarray(0, size), second.subarray(size)];
      expect(failure(() => read(chunks)).message).toBe('base.tar has no valid header at offset 1024');
    }
  });

  test('of a foreign writer is refused with a reason', () => {
    const flag = (type: string): Buffer => altered(FILE, (raw) => raw.write(type, 156));
    expect(refused(flag('x'))).toContain('PAX headers');
    expect(refused(flag('g'))).toContain('PAX headers');
    expect(refused(flag('L'))).toContain('GNU long names');
    expect(refused(flag('1'))).toContain('hard links');
    expect(refused(flag('7'))).toContain('type "7"');
    expect(refused(altered(FILE, (raw) => raw.write('ustar  \0', 257)))).toContain('not written by PostgreSQL');
    expect(refused(altered(FILE, (raw) => raw.write('prefix', 345)))).toContain('not written by PostgreSQL');
    expect(refused(altered(FILE, (raw) => raw.write('99999999999 ', 124)))).toContain('size');
    expect(refused(altered(FILE, (raw) => raw.fill(0xff, 124, 136)))).toContain('size');
    expect(refused(altered({ ...FILE, type: 'directory' }, (raw) => raw.write('00000000010 ', 124)))).toContain('size');
    expect(refused(altered({ ...FILE, type: 'symlink', linkTarget: 'x' }, (raw) => raw.fill(0, 157, 257)))).toContain(
      'without a target',
    );
  });

  test('cannot hold a name of more than 99 bytes', () => {
    expect(tarHeader({ ...FILE, path: 'x'.repeat(99) }).byteLength).toBe(TAR_BLOCK);
    expect(failure(() => tarHeader({ ...FILE, path: 'x'.repeat(100) })).code).toBe('BACKUP_CORRUPT');
    expect(failure(() => tarHeader({ ...FILE, path: 'ä'.repeat(50) })).code).toBe('BACKUP_CORRUPT');
    expect(failure(() => tarHeader({ ...FILE, path: 'x'.repeat(99), type: 'directory' })).code).toBe('BACKUP_CORRUPT');
  });

  test('is one for tar itself', () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgark-tar-'));
    try {
      const data = Buffer.from('content of a file');
      const bytes = write([
        { entry: { ...FILE, path: 'folder', type: 'directory', mode: 0o750 }, data: new Uint8Array() },
        { entry: { ...FILE, path: 'folder/file', size: data.byteLength, mode: 0o640 }, data },
      ]);
      writeFileSync(join(folder, 'x.tar'), bytes);
      execFileSync('tar', ['--numeric-owner', '--no-same-owner', '-xpf', 'x.tar'], { cwd: folder });
      expect(readFileSync(join(folder, 'folder/file'))).toEqual(data);
      expect(statSync(join(folder, 'folder/file')).mode & 0o777).toBe(0o640);
      expect(statSync(join(folder, 'folder/file')).mtimeMs).toBe(1795244479000);
      expect(statSync(join(folder, 'folder')).mode & 0o777).toBe(0o750);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
