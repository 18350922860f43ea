/** Two repositories in memory, and backups in them that are as small as they can be. */
import gzip from '@pgark/codec-gzip';
import zstd from '@pgark/codec-zstd';
import { createHash, randomBytes } from 'node:crypto';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Codec } from '../../src/contracts/codec.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { runCopy, type CopyResult, type RunCopyOptions } from '../../src/copy/copy.ts';
import { planCopy, type CopyOptions, type CopyPlan } from '../../src/copy/plan.ts';
import { formatLsn } from '../../src/postgres/lsn.ts';
import { segmentName } from '../../src/postgres/wal-file.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import { bodyOf, collect, putBytes } from '../../src/repository/objects.ts';
import { Repository } from '../../src/repository/repository.ts';
import { keysOf, memoryStorage, pluginContext } from '../repository/repository.ts';

export const SYSTEM = '7710493345181022616';
export const SEGMENT_SIZE: number = 1 << 20;

export const CODECS: readonly Codec[] = [
  await zstd.create({ level: 1 }, pluginContext),
  await gzip.create({ level: 1 }, pluginContext),
];

export type CodecName = 'zst' | 'gz';

/** A repository of this name, with codecs by suffix. */
export async function archive(
  name: string,
  options: { readonly storage?: Storage; readonly codecs?: readonly CodecName[] } = {},
): Promise<Repository> {
  const codecFor = async (suffix: string): Promise<Codec> => {
    const codec = CODECS.find((known) => known.suffix === suffix);
    if (codec === undefined) throw new ArchiveError('CODEC_UNKNOWN', `no codec for .${suffix}`);
    return codec;
  };
  return new Repository({
    cluster: 'main',
    name,
    storage: options.storage ?? (await memoryStorage()),
    codecs: await Promise.all((options.codecs ?? ['zst']).map(codecFor)),
    codecFor,
  });
}

export const walName = (timeline: number, number: number): string =>
  segmentName(timeline, BigInt(number), SEGMENT_SIZE);

/** Pushes segments of random bytes, and gives their contents by name. */
export async function pushWal(
  repository: Repository,
  timeline: number,
  numbers: readonly number[],
): Promise<ReadonlyMap<string, Uint8Array>> {
  const pushed = new Map<string, Uint8Array>();
  for (const number of numbers) {
    const bytes = randomBytes(500);
    await repository.wal(SYSTEM).push(walName(timeline, number), { bytes });
    pushed.set(walName(timeline, number), bytes);
  }
  return pushed;
}

export interface BackupFacts {
  readonly timeline?: number;
  /** Numbers of the segments in which it begins and ends. */
  readonly from: number;
  readonly to: number;
  /** Bytes of each part. */
  readonly partSize?: number;
}

/** A complete backup with three parts; its WAL is not pushed. */
export async function makeBackup(repository: Repository, id: string, facts: BackupFacts): Promise<BackupRecord> {
  const { timeline = 1, from, to, partSize = 3000 } = facts;
  await repository.open({ create: true });
  const backups = repository.backups(SYSTEM);
  const put = (name: string, plainHash: boolean): ReturnType<typeof backups.putObject> =>
    backups.putObject(id, name, bodyOf(randomBytes(partSize)), { plainHash });
  const time = `${id.slice(0, 4)}-${id.slice(4, 6)}-${id.slice(6, 11)}:${id.slice(11, 13)}:${id.slice(13, 16)}`;
  const position = (segment: number): string => formatLsn(BigInt(segment) * BigInt(SEGMENT_SIZE) + 0x28n);
  const record: BackupRecord = {
    format: 1,
    id,
    kind: 'full',
    cluster: 'main',
    systemId: SYSTEM,
    serverVersion: 180004,
    segmentSize: SEGMENT_SIZE,
    timeline,
    startLsn: position(from),
    stopTimeline: timeline,
    stopLsn: position(to),
    startTime: time,
    stopTime: time,
    nextXid: '734',
    dataChecksums: true,
    host: 'db1:5432',
    fromStandby: false,
    label: 'a label',
    tool: '0.1.0',
    tablespaces: [{ oid: '16385', location: '/mnt/fast' }],
    codecs: repository.codecs.map(({ id: codec, suffix }) => ({ id: codec, suffix, keyIds: [] })),
    files: 3,
    dataSize: 3 * partSize,
    parts: [
      { ...(await put('16385/0000.tar', false)), archive: '16385', number: 0, entries: 1 },
      { ...(await put('base/0000.tar', false)), archive: 'base', number: 0, entries: 1 },
      { ...(await put('base/0001.tar', false)), archive: 'base', number: 1, entries: 1 },
    ],
    manifest: await put('backup_manifest', true),
    fileList: await put('files.json', true),
  };
  await backups.commit(record);
  return backups.read(id);
}

/** Plans and copies. */
export async function copy(
  source: Repository,
  target: Repository,
  options: Omit<Partial<CopyOptions & RunCopyOptions>, 'source' | 'target'> = {},
): Promise<{ readonly plan: CopyPlan; readonly result: CopyResult }> {
  const plan = await planCopy({ ...options, source, target });
  return { plan, result: await runCopy(plan, { ...options, source, target }) };
}

/** The digests of the plain bytes of every object of a backup, by name without codecs, each verified by the record. */
export async function contentsOf(repository: Repository, id: string): Promise<ReadonlyMap<string, string>> {
  const backups = repository.backups(SYSTEM);
  const { parts, manifest, fileList } = await backups.read(id);
  const contents = new Map<string, string>();
  for (const object of [...parts, manifest, fileList]) {
    const bytes = await collect(backups.readObject(id, object), object.name);
    const name = object.name.replaceAll(/\.(?:zst|gz)/g, '');
    contents.set(name, createHash('sha256').update(bytes).digest('hex'));
  }
  return contents;
}

/** The WAL that a repository holds, without digests and codecs. */
export async function walOf(repository: Repository): Promise<readonly string[]> {
  const prefix = `main/${SYSTEM}/wal/`;
  const keys = await keysOf(repository.storage);
  return keys
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(key.indexOf('/', prefix.length) + 1).replace(/-[0-9a-f]{32}.*$/, ''))
    .map((key) => key.replace(/^[0-9A-F]{8}\//, ''));
}

/** Puts other bytes under a key: what a failing disk does. */
export async function damage(repository: Repository, key: string, bytes?: Uint8Array): Promise<void> {
  const { size } = await repository.storage.stat(key);
  await repository.storage.remove([key]);
  await putBytes(repository.storage, key, bytes ?? randomBytes(size));
}

/** A storage that calls `before` ahead of every put, but for those of leases, which are written beside the work. */
export function watchedPuts(inner: Storage, before: (key: string) => Promise<void> | void): Storage {
  return {
    capabilities: inner.capabilities,
    put: async (key, body, options) => {
      if (!key.includes('/leases/')) await before(key);
      await inner.put(key, body, options);
    },
    get: (...call) => inner.get(...call),
    stat: (...call) => inner.stat(...call),
    list: (...call) => inner.list(...call),
    remove: (...call) => inner.remove(...call),
    close: () => inner.close(),
  };
}
