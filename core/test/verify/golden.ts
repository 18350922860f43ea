/** A real archive, the golden one of a chain, in memory, where it can be damaged. */
import gzip from '@pgark/codec-gzip';
import zstd from '@pgark/codec-zstd';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Codec } from '../../src/contracts/codec.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import { collect, putBytes } from '../../src/repository/objects.ts';
import { Repository } from '../../src/repository/repository.ts';
import type { Finding, Skipped } from '../../src/verify/finding.ts';
import { verify, type VerifyOptions } from '../../src/verify/verify.ts';
import { memoryStorage, pluginContext } from '../repository/repository.ts';

const GOLDEN = fileURLToPath(new URL('../../../test/golden', import.meta.url));
const CODECS: readonly Codec[] = [
  await zstd.create({ level: 1 }, pluginContext), // not that of the archive, which takes its time
  await gzip.create({ level: 9 }, pluginContext), // that of the archive
];

/** The archive of golden backups. */
export const SYSTEM = '7710757348763862782';
export const BACKUP = '20261121T223639Z-c953';

export interface GoldenOptions {
  readonly name?: string;
  /** Puts something around the storage that the repository reads. */
  readonly wrap?: (storage: Storage) => Storage;
  /** Suffixes of the codecs that there are; default all. */
  readonly known?: readonly string[];
  /** Whether backup.json is as this version writes it, with its digest; default true. */
  readonly sealed?: boolean;
}

export interface Golden {
  readonly repository: Repository;
  /** Without what was put around it. */
  readonly storage: Storage;
}

/** Reads the archive of this chain into memory. */
export async function golden(chain: 'zstd' | 'gzip' | 'plain' = 'zstd', options: GoldenOptions = {}): Promise<Golden> {
  const storage = await memoryStorage();
  const folder = join(GOLDEN, chain, 'archive');
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    await putBytes(storage, path.slice(folder.length + 1), readFileSync(path));
  }
  const made = { repository: repositoryOver(storage, chain, options), storage };
  if (options.sealed !== false && chain !== 'plain') await reseal(made, (record) => record);
  return made;
}

function repositoryOver(storage: Storage, chain: string, { name, wrap, known }: GoldenOptions): Repository {
  return new Repository({
    cluster: 'main',
    ...(name === undefined ? {} : { name }),
    storage: wrap?.(storage) ?? storage,
    codecs: CODECS.filter(({ id }) => id === chain),
    codecFor: async (suffix) => {
      const codec = CODECS.find((one) => one.suffix === suffix && known?.includes(suffix) !== false);
      if (codec === undefined) throw new ArchiveError('CODEC_UNKNOWN', `no codec for .${suffix}`);
      return codec;
    },
  });
}

/** Writes the record of the backup anew. */
export async function reseal({ storage }: Golden, change: (record: BackupRecord) => BackupRecord): Promise<void> {
  const plain = repositoryOver(storage, 'zstd', {});
  const catalog = plain.backups(SYSTEM);
  const record = await catalog.read(BACKUP);
  await storage.remove([catalog.objectKey(BACKUP, 'backup.json')]);
  await catalog.commit(change(record));
}

/** The only key that matches. */
export async function keyLike({ storage }: Golden, pattern: RegExp): Promise<string> {
  const found: string[] = [];
  for await (const { key } of storage.list('')) if (pattern.test(key)) found.push(key);
  const [key, ...others] = found;
  if (key === undefined || others.length > 0)
    throw new Error(`${found.length} keys match ${String(pattern)}: ${found.join(', ')}`);
  return key;
}

export async function bytesOf({ storage }: Golden, key: string): Promise<Buffer> {
  return Buffer.from(await collect(storage.get(key), key));
}

/** Puts other bytes in the place of an object. */
export async function replace({ storage }: Golden, key: string, bytes: Uint8Array): Promise<void> {
  await storage.remove([key]);
  await putBytes(storage, key, bytes);
}

/** Flips bits of one byte. */
export function invert(bytes: Buffer, at: number, bits: number): void {
  bytes.writeUInt8(bytes.readUInt8(at) ^ bits, at);
}

/** Flips a bit in the middle of an object. */
export async function flip(one: Golden, key: string): Promise<void> {
  const bytes = await bytesOf(one, key);
  invert(bytes, bytes.byteLength >> 1, 1);
  await replace(one, key, bytes);
}

export interface Found {
  readonly findings: readonly Finding[];
  readonly skipped: readonly Skipped[];
  readonly notes: readonly string[];
  readonly objects: number;
  readonly stopped: unknown;
}

/** Verifies in full. */
export async function look(one: Golden, options: Partial<VerifyOptions> = {}): Promise<Found> {
  const { subjects, stopped } = await verify({ repository: one.repository, level: 'full', patience: 0, ...options });
  return {
    findings: subjects.flatMap(({ report }) => report.findings),
    skipped: subjects.flatMap(({ report }) => report.skipped),
    notes: subjects.flatMap(({ report }) => report.notes),
    objects: subjects.reduce((sum, { report }) => sum + report.objects, 0),
    stopped,
  };
}
