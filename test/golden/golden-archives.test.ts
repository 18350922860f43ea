/**
 * Archives of format 1 as earlier versions of pgark wrote them: each is opened by its config, as an operator would, and every object in it
 * must still be what it was. When this test fails, pgark is wrong, never the archive.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { openParts } from '../../core/src/archive-parts.ts';
import { loadConfig } from '../../core/src/config/load.ts';
import { readFileList, type BackupFile } from '../../core/src/repository/file-list.ts';
import type { BackupObject, BackupRecord } from '../../core/src/repository/backup-record.ts';
import type { Repository } from '../../core/src/repository/repository.ts';
import { collect } from '../../core/src/repository/objects.ts';
import { readManifest } from '../../core/src/postgres/manifest.ts';
import { silentLogger } from '../support/silent-logger.ts';
import { GOLDEN_CHAINS } from './chains.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));

interface Fact {
  readonly size: number;
  readonly sha256: string;
}

interface Expected {
  readonly format: number;
  readonly writtenBy: string;
  readonly postgresql: number;
  /** By key: what each object is when it is decoded. */
  readonly objects: Readonly<Record<string, Fact>>;
}

const folders = readdirSync(HERE, { withFileTypes: true }).filter(
  (entry) => entry.isDirectory() && entry.name !== 'keys',
);

test('every golden archive that was ever made is here', () => {
  expect(folders.map(({ name }) => name).toSorted()).toEqual(Object.keys(GOLDEN_CHAINS).toSorted());
});

describe.each(Object.entries(GOLDEN_CHAINS))('golden archive %s', (name, chain) => {
  const folder = join(HERE, name);
  const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected;
  const wanted = (pattern: RegExp): readonly string[] =>
    Object.keys(expected.objects).filter((key) => pattern.test(key));

  test('every object decodes to what was archived, and there is no other', async () => {
    await using opened = await open(folder);
    const { repository } = opened;
    const marker = JSON.parse(readFileSync(join(folder, 'archive/main/pgark.json'), 'utf8')) as { readonly id: string };
    expect(await repository.open()).toEqual({ id: marker.id });
    const found: Record<string, Fact> = {};
    for await (const { key } of repository.storage.list('main/'))
      if (/\/(?:pgark|backup)\.json$/.test(key)) found[key] = factOf(await collect(repository.storage.get(key), key));
    for (const systemId of await repository.systemIds()) {
      Object.assign(found, await walOf(repository, systemId), await backupsOf(repository, systemId));
    }
    expect(found).toEqual(expected.objects);
  });

  test('timelines, history and slices are what they were', async () => {
    await using opened = await open(folder);
    const [systemId = ''] = await opened.repository.systemIds();
    const wal = opened.repository.wal(systemId);
    expect(await wal.timelines()).toEqual([1, 2]);
    const history = await wal.history(2);
    expect(Buffer.from(history?.content ?? []).toString('latin1')).toMatch(
      /^1\t0\/[0-9A-F]+\tno recovery target specified/,
    );
    const [slice = ''] = wanted(/\/wal\/00000002\/.*\.tail\//);
    const segment = /([0-9A-F]{24})\.tail/.exec(slice)?.[1] ?? '';
    const bytes = await wal.tail(segment);
    // The header of a segment's first page, which names the cluster (XLogLongPageHeaderData).
    expect(
      Buffer.from(bytes ?? [])
        .readBigUInt64LE(24)
        .toString(),
    ).toBe(systemId);
  });

  test.skipIf(chain.keeps !== undefined)(
    'its backup has every file of the cluster, as PostgreSQL described it',
    async () => {
      await using opened = await open(folder);
      const [systemId = ''] = await opened.repository.systemIds();
      const catalog = opened.repository.backups(systemId);
      const [entry, ...others] = await catalog.list();
      expect(others).toEqual([]);
      expect(entry).toMatchObject({ state: 'complete', record: { systemId, format: 1, label: 'golden', timeline: 1 } });
      const { record } = entry as { readonly record: BackupRecord };
      const read = (object: BackupObject): AsyncIterable<Uint8Array> => catalog.readObject(record.id, object);

      const parts = new Map<string, Uint8Array>();
      for (const part of record.parts) {
        parts.set(part.name.replace(/\.tar.*/, '.tar'), await collect(read(part), part.name));
      }
      const files: BackupFile[] = [];
      for await (const file of readFileList(read(record.fileList), 'files.json')) files.push(file);
      for (const { path, part, offset, size, sha256 } of files) {
        const bytes = parts.get(part)?.subarray(offset, offset + size) ?? new Uint8Array(0);
        expect(factOf(bytes), path).toEqual({ size, sha256 });
      }
      const manifest = await readManifest(read(record.manifest));
      const described = new Map(files.map(({ path, sha256 }) => [path, sha256]));
      expect(manifest.fileCount).toBeGreaterThan(200);
      for (const file of manifest.files.values()) expect(described.get(file.path), file.path).toBe(file.checksum);
      expect(record.tablespaces).toHaveLength(1);
      expect(record.codecs.map(({ suffix }) => suffix).join('.')).toBe(suffixesOf(record.parts[0]!.name));
    },
  );
});

test.each([
  ['that of the other recipient reads all', 'age-operations.txt', undefined],
  ['one of neither reads nothing', 'aes-gcm.txt', 'CODEC_KEY'],
])('golden archive zstd-age, with another key: %s', async (_what, key, code) => {
  await using opened = await open(join(HERE, 'zstd-age'), { PGARK_RESTORE_IDENTITIES_0_FILE: `../keys/${key}` });
  const [systemId = ''] = await opened.repository.systemIds();
  const reading = opened.repository.wal(systemId).history(2);
  if (code === undefined) expect((await reading)?.object.codecs).toEqual(['zst', 'age']);
  else await expect(reading).rejects.toMatchObject({ code });
});

/** The only repository of the config in a folder. */
async function open(
  folder: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ readonly repository: Repository } & AsyncDisposable> {
  const loaded = await loadConfig({ path: join(folder, 'pgark.json'), env, directory: folder });
  const archive = await openParts(loaded, { logger: silentLogger });
  return { repository: archive.repositories[0], [Symbol.asyncDispose]: () => archive.close() };
}

async function walOf(repository: Repository, systemId: string): Promise<Record<string, Fact>> {
  const wal = repository.wal(systemId);
  const found: Record<string, Fact> = {};
  for (const timeline of await wal.timelines()) {
    const history = await wal.history(timeline);
    if (history !== undefined) found[history.object.key] = factOf(history.content);
    for await (const object of wal.contents(timeline, { from: 0n, segmentSize: 1024 * 1024 })) {
      const bytes = 'segment' in object ? await wal.readSlice(object) : await collect(wal.read(object), object.key);
      found[object.key] = factOf(bytes);
    }
  }
  return found;
}

async function backupsOf(repository: Repository, systemId: string): Promise<Record<string, Fact>> {
  const catalog = repository.backups(systemId);
  const found: Record<string, Fact> = {};
  for (const entry of await catalog.list()) {
    expect(entry.state).toBe('complete');
    if (entry.state !== 'complete') continue;
    const { id, parts, manifest, fileList } = entry.record;
    for (const object of [...parts, manifest, fileList]) {
      const bytes = await collect(catalog.readObject(id, object), object.name);
      found[`main/${systemId}/backups/${id}/${object.name}`] = factOf(bytes);
    }
  }
  return found;
}

function suffixesOf(name: string): string {
  return name.replace(/^.*\.tar\.?/, '');
}

function factOf(bytes: Uint8Array): Fact {
  return { size: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') };
}
