/** One backup from one repository into another. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { inspectObject } from '../keys/inspect-object.ts';
import type { BackupObject, BackupPart, BackupRecord } from '../repository/backup-record.ts';
import { splitObjectName } from '../repository/backups.ts';
import { EXPIRED, type Fact } from '../repository/facts.ts';
import type { Repository } from '../repository/repository.ts';
import { atOnce } from './at-once.ts';
import { streamWithin, within } from './failures.ts';
import { checkSame } from './plan.ts';
import { recordIn } from './select-backups.ts';

export interface CopyBackupOptions extends CallOptions {
  readonly source: Repository;
  readonly target: Repository;
  /** Objects at once. */
  readonly concurrency: number;
  /** Told of plain bytes as they pass; negative ones when an object begins anew. */
  readonly onBytes: (bytes: number) => void;
}

export interface CopiedObjects {
  /** Objects that were written. */
  readonly copied: number;
  /** Objects that were in the target and turned out to be equal. */
  readonly kept: number;
  /** Bytes of what was written, as stored. */
  readonly storedBytes: number;
  /** The record in the target. */
  readonly record: BackupRecord;
}

interface Copied {
  readonly object: BackupObject;
  readonly kept: boolean;
}

/**
 * Copies the objects of a backup whose WAL the target has, each through the codecs of both repositories, then its facts, and makes it exist.
 * What is in the target already is compared byte by byte and kept.
 *
 * Errors: `STORAGE_EXISTS` for an object of the target with other content, `STORAGE_CORRUPT` and `CODEC_CORRUPT` for a damaged one, all
 * of them with the key and the repository; those of the storages.
 */
export async function copyBackup(record: BackupRecord, options: CopyBackupOptions): Promise<CopiedObjects> {
  const { target, signal } = options;
  const call: CallOptions = signal === undefined ? {} : { signal };
  const { id, systemId, parts, manifest, fileList } = record;
  const catalog = target.backups(systemId);
  const held = await within(target, () => catalog.objectNames(id, call));
  const done = new Map<string, Copied>();
  await atOnce([...parts, manifest, fileList], options, async (object, either) => {
    done.set(object.name, await copyObject(record, object, held, { ...options, signal: either }));
  });
  const copiedOf = (object: BackupObject): BackupObject => {
    const copied = done.get(object.name);
    if (copied === undefined) throw new ArchiveError('INTERNAL', `${object.name} of backup ${id} was not copied`);
    return copied.object;
  };
  const kept = [...done.values()].filter((copied) => copied.kept).map(({ object }) => object);
  const copy: BackupRecord = {
    ...record,
    codecs: await codecsOf(target, record, kept, call),
    parts: parts.map((part): BackupPart => ({ ...part, ...copiedOf(part) })),
    manifest: copiedOf(manifest),
    fileList: copiedOf(fileList),
  };
  await copyFacts(systemId, id, options);
  await commit(copy, target, call);
  const written = [...done.values()].filter(({ kept }) => !kept);
  return {
    copied: written.length,
    kept: done.size - written.length,
    storedBytes: written.reduce((sum, { object }) => sum + object.storedSize, 0),
    record: copy,
  };
}

/**
 * The codecs for the record. What an earlier, interrupted copy left may have been written for other keys than those of today: the record
 * names those too that the headers tell.
 */
async function codecsOf(
  target: Repository,
  { id, systemId }: BackupRecord,
  kept: readonly BackupObject[],
  options: CallOptions,
): Promise<BackupRecord['codecs']> {
  const catalog = target.backups(systemId);
  const keys = new Map(target.codecs.map(({ suffix, keyIds = [] }) => [suffix, new Set(keyIds)]));
  for (const { name, storedSize: size } of kept) {
    const object = { key: catalog.objectKey(id, name), size, suffixes: splitObjectName(name).suffixes };
    const { layers } = await within(target, () => inspectObject(target, object, options));
    for (const { suffix, keyIds } of layers) for (const keyId of keyIds) keys.get(suffix)?.add(keyId);
  }
  return target.codecs.map((codec) => ({
    id: codec.id,
    suffix: codec.suffix,
    keyIds: [...(keys.get(codec.suffix) ?? [])],
  }));
}

async function copyObject(
  { id, systemId }: BackupRecord,
  object: BackupObject,
  held: ReadonlySet<string>,
  { source, target, signal, onBytes }: CopyBackupOptions,
): Promise<Copied> {
  const call: CallOptions = signal === undefined ? {} : { signal };
  const catalog = target.backups(systemId);
  const { name } = splitObjectName(object.name);
  const read = (): AsyncIterable<Uint8Array> => source.backups(systemId).readObject(id, object, call);
  // The digests of the plain bytes are known from the source, whose bytes were compared with them.
  const plainFacts = {
    plainSize: object.plainSize,
    ...(object.plainSha256 === undefined ? {} : { plainSha256: object.plainSha256 }),
  };
  const compare = async (): Promise<Copied> => {
    const passed = counted(streamWithin(source, read), onBytes);
    const match = await within(target, () => catalog.matchObject(id, name, passed, call));
    if (match !== undefined) return { object: { ...match, ...plainFacts }, kept: true };
    // Perhaps it is the source's that is wrong: read to its end, it says so itself.
    for await (const chunk of streamWithin(source, read)) void chunk;
    throw otherContent(`${id}/${catalog.objectName(name)}`, source, target);
  };
  if (held.has(catalog.objectName(name))) return compare();
  let before = 0;
  try {
    const stored = await within(target, () =>
      catalog.putObject(id, name, streamWithin(source, read), {
        ...call,
        plainHash: false,
        onBytes: (plain) => {
          onBytes(plain - before);
          before = plain;
        },
      }),
    );
    return { object: { ...stored, ...plainFacts }, kept: false };
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
    // Another copy was faster since the listing.
    onBytes(-before);
    return compare();
  }
}

function counted(source: AsyncIterable<Uint8Array>, onBytes: (bytes: number) => void): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
      for await (const chunk of source) {
        onBytes(chunk.byteLength);
        yield chunk;
      }
    },
  };
}

function otherContent(key: string, source: Repository, target: Repository): ArchiveError {
  return new ArchiveError(
    'STORAGE_EXISTS',
    `repository ${target.name} has other content under ${key} than repository ${source.name}`,
    {
      hint: 'Nothing was changed. The backup is not complete there: when you know where this object comes from, remove it, and copy again.',
      details: { key, repository: target.name },
    },
  );
}

async function commit(copy: BackupRecord, target: Repository, call: CallOptions): Promise<void> {
  try {
    await within(target, () => target.backups(copy.systemId).commit(copy, call));
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
    const there = await recordIn(target, copy, call);
    if (there === undefined) throw error;
    checkSame(copy, there, target);
  }
}

/**
 * What is true of the objects of one repository alone: that it had not got something, what was found when it was read back or restored, that it
 * removes something.
 */
const OF_ONE_REPOSITORY: ReadonlySet<string> = new Set(['behind', 'verify', 'drill', EXPIRED]);

/**
 * Adds the facts about a subject (a backup's id, or `wal`) that the target does not have; kind and millisecond tell one from another. Gives
 * how many. Errors: `REPOSITORY_FORMAT`, those of the storages.
 */
export async function copyFacts(
  systemId: string,
  subject: string,
  { source, target, signal }: Pick<CopyBackupOptions, 'source' | 'target' | 'signal'>,
): Promise<number> {
  const call: CallOptions = signal === undefined ? {} : { signal };
  const own = source.facts(systemId);
  const wanted: Fact[] = [];
  await within(source, async () => {
    for await (const name of own.names({ ...call, subject }))
      if (!OF_ONE_REPOSITORY.has(name.kind)) wanted.push(await own.read(name, call));
  });
  if (wanted.length === 0) return 0;
  const key = ({ kind, time }: Pick<Fact, 'kind' | 'time'>): string => `${time}-${kind}`;
  const there = new Set<string>();
  await within(target, async () => {
    for await (const name of target.facts(systemId).names({ ...call, subject })) there.add(key(name));
  });
  let added = 0;
  for (const fact of wanted) {
    if (there.has(key(fact))) continue;
    try {
      await within(target, () => target.facts(systemId).add(subject, fact, call));
      added++;
    } catch (error) {
      if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error; // another copy was faster
    }
  }
  return added;
}
