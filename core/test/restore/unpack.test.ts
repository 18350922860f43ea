import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { leaseMemory } from '../../src/contracts/lease.ts';
import type { ManifestFile } from '../../src/postgres/manifest.ts';
import { TAR_END, tarHeader, tarPadding, type TarEntry } from '../../src/postgres/tar.ts';
import { BackgroundSync } from '../../src/restore/background-sync.ts';
import { FileTree } from '../../src/restore/file-tree.ts';
import { unpackPart } from '../../src/restore/unpack-part.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-unpack-'));
  mkdirSync(join(folder, 'data'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Item = Partial<TarEntry> & { readonly path: string; readonly content?: string };

function archiveOf(items: readonly Item[]): Buffer {
  const blocks = items.flatMap(({ content = '', ...entry }) => {
    const size = Buffer.byteLength(content);
    const header = tarHeader({ type: 'file', mode: 0o600, mtime: 0, size, ...entry });
    return [header, Buffer.from(content), new Uint8Array(tarPadding(size))];
  });
  return Buffer.concat([...blocks, TAR_END]);
}

/** A header whose name was changed after the fact, with a checksum that holds. */
function renamed(header: Uint8Array, name: string): Buffer {
  const raw = Buffer.from(header);
  raw.fill(0, 0, 100);
  raw.write(name, 0, 'latin1');
  raw.fill(' ', 148, 156);
  const sum = raw.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  raw.write(`${sum.toString(8).padStart(7, '0')} `, 148, 'latin1');
  return raw;
}

function manifest(contents: Readonly<Record<string, string>>): Map<string, ManifestFile> {
  return new Map(
    Object.entries(contents).map(([path, content]) => [
      path,
      {
        path,
        size: Buffer.byteLength(content),
        lastModified: '',
        algorithm: 'SHA256',
        checksum: createHash('sha256').update(content).digest('hex'),
      },
    ]),
  );
}

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

/** Chunks whose memory may be moved, mixed with others as `isMovable` says; `lent` counts those that have not come back. */
async function* movable(
  bytes: Uint8Array,
  size: number,
  { isMovable, lent }: { readonly isMovable: (chunk: number) => boolean; readonly lent: { count: number } },
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) {
    const chunk = Uint8Array.from(bytes.subarray(at, at + size));
    if (!isMovable(at / size)) {
      yield chunk;
      chunk.fill(0xee); // its time is over
      continue;
    }
    lent.count++;
    yield leaseMemory(chunk, (memory) => {
      expect(memory.byteLength, 'all of it comes back').toBe(Math.min(size, bytes.byteLength - at));
      lent.count--;
    });
  }
}

async function unpack(
  bytes: Uint8Array,
  files: ReadonlyMap<string, ManifestFile>,
  {
    size = 700,
    tablespaces = new Map<string, string>(),
    archive = 'base',
    source = chunks(bytes, size) as AsyncIterable<Uint8Array>,
  } = {},
): Promise<readonly string[]> {
  const done: string[] = [];
  await unpackPart(source, 'part', {
    archive,
    tree: new FileTree(join(folder, 'data'), { owner: undefined, directoryMode: 0o700 }),
    syncs: new BackgroundSync(true),
    prefix: archive === 'base' ? '' : `pg_tblspc/${archive}/`,
    files,
    tablespaces,
    onBytes: () => undefined,
    onFile: (path) => done.push(path),
  });
  return done;
}

const at = (path: string): string => join(folder, 'data', path);

test('files, folders and modes come out as they went in, whatever the chunks', async () => {
  const contents = { PG_VERSION: '18\n', 'base/1/1259': 'x'.repeat(5000), 'base/1/empty': '' };
  const bytes = archiveOf([
    { path: 'PG_VERSION', content: contents.PG_VERSION, mode: 0o640 },
    { path: 'pg_notify', type: 'directory', mode: 0o750 },
    { path: 'base/1/1259', content: contents['base/1/1259'] },
    { path: 'base/1/empty', content: '' },
  ]);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 2000 }), async (size) => {
      expect(await unpack(bytes, manifest(contents), { size })).toEqual(Object.keys(contents));
    }),
    { numRuns: 20 },
  );
  for (const [path, content] of Object.entries(contents)) expect(readFileSync(at(path), 'utf8')).toBe(content);
  expect((statSync(at('PG_VERSION')).mode & 0o777).toString(8)).toBe('640');
  expect((statSync(at('pg_notify')).mode & 0o777).toString(8)).toBe('750');
  expect((statSync(at('base/1')).mode & 0o777).toString(8)).toBe('700');
});

test('chunks whose memory goes to the hasher are written and compared all the same, and all of it comes back', async () => {
  const contents = Object.fromEntries(
    [0, 1, 3000, 100_000, 0, 5_000_000, 511, 2_000_000].map((length, index) => [
      `base/1/${index}`,
      String.fromCharCode(97 + index).repeat(length),
    ]),
  );
  const bytes = archiveOf(Object.entries(contents).map(([path, content]) => ({ path, content })));
  const ways: readonly ((chunk: number) => boolean)[] = [() => true, (chunk) => chunk % 3 > 0, (chunk) => chunk < 4];
  for (const size of [1000, 65_536, 1_048_576]) {
    for (const isMovable of ways) {
      const lent = { count: 0 };
      const source = movable(bytes, size, { isMovable, lent });
      expect(await unpack(bytes, manifest(contents), { source })).toEqual(Object.keys(contents));
      for (const [path, content] of Object.entries(contents))
        expect(readFileSync(at(path), 'utf8') === content).toBe(true);
      expect(lent.count).toBe(0);
    }
  }
  // One bit in the middle of the largest file.
  const damaged = Buffer.from(bytes);
  damaged.writeUInt8(damaged.readUInt8(3_000_000) ^ 1, 3_000_000);
  const source = movable(damaged, 65_536, { isMovable: () => true, lent: { count: 0 } });
  await expect(unpack(damaged, manifest(contents), { source })).rejects.toMatchObject({
    code: 'BACKUP_CORRUPT',
    message: expect.stringMatching(/^base\/1\/5 in the backup has checksum/) as string,
  });
}, 20_000);

test('pg_control gets another name until everything is in place', async () => {
  await unpack(archiveOf([{ path: 'global/pg_control', content: 'c' }]), manifest({ 'global/pg_control': 'c' }));
  expect(existsSync(at('global/pg_control'))).toBe(false);
  expect(readFileSync(at('global/pg_control.pgark'), 'utf8')).toBe('c');
});

describe('H-39 an archive never writes outside its folder', () => {
  test.each(['../evil', '/tmp/pgark-evil', 'base/../../evil', './../evil', 'base//evil', '..'])(
    'the name %s',
    async (name) => {
      const header = tarHeader({ path: 'x', type: 'file', mode: 0o600, mtime: 0, size: 0 });
      const bytes = Buffer.concat([renamed(header, name), TAR_END]);
      await expect(unpack(bytes, manifest({ [name]: '' }))).rejects.toMatchObject({ code: 'BACKUP_CORRUPT' });
      expect(readdirSync(folder)).toEqual(['data']);
      expect(existsSync('/tmp/pgark-evil')).toBe(false);
    },
  );

  test('a link that is of no tablespace', async () => {
    for (const path of ['pg_wal', 'pg_tblspc/99', 'base/1', 'pg_tblspc/16384/deeper']) {
      const bytes = archiveOf([{ path, type: 'symlink', mode: 0o777, linkTarget: '/etc' }]);
      await expect(unpack(bytes, manifest({}), { tablespaces: new Map([['16384', '/new']]) })).rejects.toMatchObject({
        code: 'BACKUP_CORRUPT',
      });
    }
    expect(readdirSync(at('.'))).toEqual([]);
  });

  test('a file behind a link, whether the archive or somebody else put it there', async () => {
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    const through = archiveOf([
      { path: 'pg_tblspc/16384', type: 'symlink', mode: 0o777, linkTarget: '/old' },
      { path: 'pg_tblspc/16384/evil', content: 'x' },
    ]);
    await expect(
      unpack(through, manifest({ 'pg_tblspc/16384/evil': 'x' }), { tablespaces: new Map([['16384', outside]]) }),
    ).rejects.toMatchObject({ code: 'BACKUP_CORRUPT' });
    expect(readlinkSync(at('pg_tblspc/16384'))).toBe(outside);

    symlinkSync(outside, at('base'));
    await expect(
      unpack(archiveOf([{ path: 'base/1/x', content: 'x' }]), manifest({ 'base/1/x': 'x' })),
    ).rejects.toMatchObject({
      code: 'BACKUP_CORRUPT',
    });
    symlinkSync(join(outside, 'target'), at('file'));
    await expect(unpack(archiveOf([{ path: 'file', content: 'x' }]), manifest({ file: 'x' }))).rejects.toMatchObject({
      code: 'RESTORE_FAILED',
    });
    expect(readdirSync(outside)).toEqual([]);
  });
});

test('a file that the manifest does not name, or that differs from it, is refused', async () => {
  const bytes = archiveOf([{ path: 'base/1/2', content: 'abc' }]);
  await expect(unpack(bytes, manifest({}))).rejects.toMatchObject({
    message: expect.stringContaining('does not name: base/1/2') as string,
  });
  await expect(unpack(bytes, manifest({ 'base/1/2': 'abd' }))).rejects.toMatchObject({
    code: 'BACKUP_CORRUPT',
    message: expect.stringMatching(/base\/1\/2 in the backup has checksum/) as string,
  });
  await expect(unpack(bytes, manifest({ 'base/1/2': 'abcd' }))).rejects.toMatchObject({
    message: expect.stringMatching(/has 3 bytes, the manifest says 4/) as string,
  });
});

test('an archive that is cut short anywhere is refused', async () => {
  const bytes = archiveOf([
    { path: 'one', content: 'a'.repeat(600) },
    { path: 'two', content: 'b' },
  ]);
  const files = manifest({ one: 'a'.repeat(600), two: 'b' });
  for (let length = 0; length < bytes.byteLength; length += 256)
    await expect(unpack(bytes.subarray(0, length), files), String(length)).rejects.toMatchObject({
      code: 'BACKUP_CORRUPT',
    });
  expect(await unpack(bytes, files)).toEqual(['one', 'two']);
});

test('H-32 the files of a tablespace are compared under its name in the manifest, and links go where the plan says', async () => {
  const version = 'PG_18_202506291/5/1';
  await unpack(archiveOf([{ path: version, content: 'x' }]), manifest({ [`pg_tblspc/16384/${version}`]: 'x' }), {
    archive: '16384',
  });
  expect(readFileSync(at(version), 'utf8')).toBe('x');
  await unpack(
    archiveOf([{ path: 'pg_tblspc/16384', type: 'symlink', mode: 0o777, linkTarget: '/where/it/was' }]),
    manifest({}),
    {
      tablespaces: new Map([['16384', '/where/it/goes']]),
    },
  );
  expect(lstatSync(at('pg_tblspc/16384')).isSymbolicLink()).toBe(true);
  expect(readlinkSync(at('pg_tblspc/16384'))).toBe('/where/it/goes');
});
