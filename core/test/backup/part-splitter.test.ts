import { createHash, randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ManifestCheck } from '../../src/backup/manifest-check.ts';
import { PartSplitter, type PassedFile } from '../../src/backup/part-splitter.ts';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { piecesInPlace } from '../../src/pipeline/hasher.ts';
import { TAR_END, tarHeader, tarPadding, type TarEntry } from '../../src/postgres/tar.ts';
import type { BackupFile } from '../../src/repository/file-list.ts';

interface Entry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink';
  readonly bytes: Uint8Array;
}

function header({ path, type, bytes }: Entry): TarEntry {
  const mode = type === 'directory' ? 0o700 : 0o600;
  const link = type === 'symlink' ? { linkTarget: '/elsewhere' } : {};
  return { path, type, size: bytes.byteLength, mode, mtime: 1_700_000_000, ...link };
}

function pack(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap((entry) => [
    tarHeader(header(entry)),
    entry.bytes,
    new Uint8Array(tarPadding(entry.bytes.byteLength)),
  ]);
  return Buffer.concat([...blocks, TAR_END]);
}

interface Split {
  readonly parts: Map<string, Buffer>;
  readonly entries: number[];
  readonly files: BackupFile[];
  readonly captured: Map<string, string>;
}

function split(
  tar: Uint8Array,
  options: { archive?: string; partSize: number; chunk: number; captured?: string[] },
): Split {
  const open: { name: string; chunks: Uint8Array[] }[] = [];
  const parts = new Map<string, Buffer>();
  const entries: number[] = [];
  const passed: PassedFile[] = [];
  const digests: string[] = [];
  const captured = new Map<string, string>();
  const hasher = piecesInPlace((sha256) => digests.push(sha256));
  const pass = (bytes: Uint8Array): void => void open.at(-1)?.chunks.push(Buffer.from(bytes));
  const splitter = new PartSplitter({
    archive: options.archive ?? 'base',
    partSize: options.partSize,
    captured: new Set(options.captured),
    output: {
      begin: (name) => open.push({ name, chunks: [] }),
      write: (bytes) => {
        hasher.write(bytes);
        pass(bytes);
      },
      cut: () => hasher.cut(),
      pass,
      end: () => {
        const { name = '', chunks = [] } = open.at(-1) ?? {};
        parts.set(name, Buffer.concat(chunks));
      },
    },
    partEnd: (_number, _name, count) => entries.push(count),
    file: (file, content) => {
      passed.push(file);
      if (content !== undefined) captured.set(file.path, Buffer.from(content).toString());
    },
  });
  // One buffer for every chunk, as the connection does it: what is kept must be a copy.
  const reused = Buffer.alloc(options.chunk);
  for (let at = 0; at < tar.byteLength; at += options.chunk) {
    const chunk = tar.subarray(at, at + options.chunk);
    reused.set(chunk);
    splitter.push(reused.subarray(0, chunk.byteLength));
  }
  splitter.end();
  const files = passed.map((file, at) => ({ ...file, sha256: digests[at] ?? '' }));
  return { parts, entries, files, captured };
}

const entry = fc.record({
  type: fc.constantFrom('file', 'file', 'file', 'directory', 'symlink'),
  size: fc.oneof(fc.nat(40), fc.nat(3000), fc.constantFrom(511, 512, 513, 1024, 8192)),
});

test('parts hold the entries in order, byte for byte, each a whole archive, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 30 }),
      fc.integer({ min: 1, max: 9000 }),
      fc.integer({ min: 1, max: 6000 }),
      (kinds, partSize, chunk) => {
        const entries = kinds.map(({ type, size }, at): Entry => ({
          path: `dir/f${at}`,
          type,
          bytes: type === 'file' ? randomBytes(size) : new Uint8Array(),
        }));
        const { parts, entries: counts, files } = split(pack(entries), { partSize, chunk });
        // Without their end marks the parts are the archive without its own.
        const inner = [...parts.values()].map((part) => part.subarray(0, part.byteLength - TAR_END.byteLength));
        expect(Buffer.concat([...inner, TAR_END])).toEqual(pack(entries));
        expect([...parts.keys()]).toEqual(counts.map((_, at) => `base/${String(at).padStart(4, '0')}.tar`));
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(entries.length);
        for (const [at, part] of [...parts.values()].entries()) {
          expect(part.subarray(part.byteLength - 1024).equals(TAR_END)).toBe(true);
          expect(part.byteLength <= partSize || counts[at] === (entries.length === 0 ? 0 : 1)).toBe(true);
        }
        expect(files.map(({ path }) => path)).toEqual(
          entries.filter(({ type }) => type === 'file').map(({ path }) => path),
        );
        for (const file of files) {
          const bytes = parts.get(file.part)?.subarray(file.offset, file.offset + file.size);
          const wanted = entries.find(({ path }) => path === file.path)?.bytes ?? new Uint8Array();
          expect(bytes).toEqual(Buffer.from(wanted));
          expect(file.sha256).toBe(createHash('sha256').update(wanted).digest('hex'));
        }
      },
    ),
    { numRuns: 150 },
  );
});

test('a file larger than a part makes a part of its own, between others', () => {
  const entries = [100, 50_000, 100].map((size, at): Entry => ({
    path: `f${at}`,
    type: 'file',
    bytes: randomBytes(size),
  }));
  const { parts, entries: counts } = split(pack(entries), { partSize: 4096, chunk: 1000 });
  expect(counts).toEqual([1, 1, 1]);
  const listing = spawnSync('tar', ['-t'], { input: parts.get('base/0001.tar'), encoding: 'utf8' });
  expect(listing.stdout).toBe('f1\n');
  expect(listing.status).toBe(0);
});

test('files of a tablespace are named below pg_tblspc, and wanted ones are captured', () => {
  const bytes = Buffer.from('fifteen');
  const { files, captured } = split(pack([{ path: 'PG_15_1/x', type: 'file', bytes }]), {
    archive: '16384',
    partSize: 1 << 20,
    chunk: 100,
    captured: ['pg_tblspc/16384/PG_15_1/x', 'PG_15_1/x'],
  });
  expect(files[0]).toMatchObject({
    path: 'pg_tblspc/16384/PG_15_1/x',
    part: '16384/0000.tar',
    offset: 512,
    mode: 0o600,
  });
  expect([...captured]).toEqual([['pg_tblspc/16384/PG_15_1/x', 'fifteen']]);
});

test('an archive without entries is one empty part', () => {
  const { parts, entries } = split(pack([]), { partSize: 1 << 20, chunk: 512, archive: '16385' });
  expect([...parts]).toEqual([['16385/0000.tar', Buffer.from(TAR_END)]]);
  expect(entries).toEqual([0]);
});

test('H-30 an archive that is cut short never ends a part', () => {
  const whole = pack([{ path: 'a', type: 'file', bytes: randomBytes(3000) }]);
  for (const length of [0, 511, 512, 1000, 3000, 4096, whole.byteLength - 1024, whole.byteLength - 1]) {
    const ended: string[] = [];
    const splitter = new PartSplitter({
      archive: 'base',
      partSize: 1 << 20,
      captured: new Set(),
      output: {
        begin: () => undefined,
        write: () => undefined,
        cut: () => undefined,
        pass: () => undefined,
        end: () => ended.push('a part'),
      },
      partEnd: () => undefined,
      file: () => undefined,
    });
    splitter.push(whole.subarray(0, length));
    expect(() => splitter.end()).toThrow(expect.toSatisfy((error) => isArchiveError(error, 'BACKUP_CORRUPT')));
    expect(ended).toEqual([]);
  }
});

test('where files are hashed in place, on one core, thousands of them have their digests', () => {
  const entries = Array.from({ length: 2500 }, (_, at): Entry => ({
    path: `base/1/${at}`,
    type: 'file',
    bytes: Buffer.from(`${at}`),
  }));
  const check = new ManifestCheck();
  const hasher = piecesInPlace((sha256) => check.digest(sha256));
  const splitter = new PartSplitter({
    archive: 'base',
    partSize: 1_000_000,
    captured: new Set(),
    output: {
      begin: () => undefined,
      write: (bytes) => hasher.write(bytes),
      cut: () => hasher.cut(),
      pass: () => undefined,
      end: () => undefined,
    },
    partEnd: () => undefined,
    file: (file) => check.passed(file),
  });
  splitter.push(pack(entries));
  splitter.end();
  for (const { path, bytes } of entries) {
    const checksum = createHash('sha256').update(bytes).digest('hex');
    check.listed({ path, size: bytes.byteLength, lastModified: '', algorithm: 'SHA256', checksum });
  }
  expect(() => check.end()).not.toThrow();
});
