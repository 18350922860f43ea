/** Heals a file of the WAL: its name has the digest of its plain bytes, so a copy of any repository will do. */
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseWalFileName, segmentName, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import { parseTailKey, parseWalKey, walPrefix } from '../repository/layout.ts';
import type { Repository } from '../repository/repository.ts';
import type { TailSlice } from '../repository/tail.ts';
import type { WalArchive, WalObject } from '../repository/wal.ts';
import type { Finding } from './finding.ts';
import { removeDamaged, type HealOptions, type HealOutcome } from './replace.ts';
import { problemOf } from './report.ts';

/** Heals one finding. Errors: those of the storages. */
export async function healWal(systemId: string, finding: Finding, options: HealOptions): Promise<HealOutcome> {
  const { key, problem } = finding;
  const { repository } = options;
  const outcome = (from: string | undefined, reason: string | undefined): HealOutcome => ({ key, from, reason });
  if (problem === 'conflict' || problem === 'invalid' || problem === 'unreadable')
    return outcome(undefined, 'nothing says which copy would be right');
  const place = key.slice(walPrefix(repository.cluster, systemId).length);
  const tail = parseTailKey(place);
  if (tail !== undefined) {
    const from = await healSlice(systemId, { ...tail, key }, options);
    return outcome(from, from === undefined ? 'no other repository has this slice whole' : undefined);
  }
  const damaged = parseWalKey(place);
  const name = damaged?.file.name ?? place.slice(place.lastIndexOf('/') + 1);
  const file = parseWalFileName(name);
  if (file === undefined) return outcome(undefined, 'slices are healed with "pgark copy"');
  let from: string | undefined;
  for (const one of filesOf(file, finding)) {
    from = await healFile(systemId, { file: one, damaged: damaged && { key, digest: damaged.digest } }, options);
    if (from === undefined) return outcome(undefined, `no other repository has ${one.name} whole`);
  }
  return outcome(from, undefined);
}

/** The files that a finding means. */
function* filesOf(first: WalFile, { stretch }: Finding): Generator<WalFile> {
  const last = stretch === undefined ? undefined : parseWalFileName(stretch.last);
  if (stretch === undefined || first.kind !== 'segment' || last?.kind !== 'segment') return yield first;
  const end = segmentNumberOf(last, stretch.segmentSize);
  for (let number = segmentNumberOf(first, stretch.segmentSize); number <= end; number++) {
    const file = parseWalFileName(segmentName(first.timeline, number, stretch.segmentSize));
    if (file !== undefined) yield file;
  }
}

interface LostFile {
  readonly file: WalFile;
  /** Undefined for one that is missing. */
  readonly damaged: { readonly key: string; readonly digest: string } | undefined;
}

/** Gives the repository that the copy is from. */
async function healFile(
  systemId: string,
  { file, damaged }: LostFile,
  options: HealOptions,
): Promise<string | undefined> {
  const { repository, others, signal } = options;
  const call: CallOptions = signal === undefined ? {} : { signal };
  const target = repository.wal(systemId);
  for (const other of others) {
    const source = other.wal(systemId);
    const object = await wholeIn(source, file.name, call);
    if (object === undefined) continue;
    if (damaged !== undefined) {
      if (damaged.digest !== object.digest)
        throw new ArchiveError('WAL_CONFLICT', `repository ${other.name} has another content of ${file.name}`);
      if (!(await isStillDamaged(repository, systemId, damaged.key, call))) throw flickers(damaged.key);
      await removeDamaged(repository, [damaged.key], call);
    }
    await target.push(file.name, { digest: object.digest, read: () => source.read(object, call) }, call);
    const put = await target.find(file.name, call);
    if (put === undefined) throw new ArchiveError('STORAGE_CORRUPT', `${file.name} was put and is not there`);
    for await (const chunk of target.read(put, call)) void chunk;
    return other.name;
  }
  return undefined;
}

async function healSlice(
  systemId: string,
  { segment, slice, key }: NonNullable<ReturnType<typeof parseTailKey>> & { readonly key: string },
  options: HealOptions,
): Promise<string | undefined> {
  const { repository, others, signal } = options;
  const call: CallOptions = signal === undefined ? {} : { signal };
  for (const other of others) {
    const source = other.wal(systemId);
    const same = (await source.slices(segment.name, call)).find(
      ({ from, to, digest }) => from === slice.from && to === slice.to && digest === slice.digest,
    );
    if (same === undefined) continue;
    let bytes: Uint8Array;
    try {
      bytes = await source.readSlice(same, call);
    } catch (error) {
      if (problemOf(error) === undefined) throw error;
      continue; // damaged there too
    }
    if (!(await isSliceDamaged(repository, systemId, { ...slice, key }, call))) throw flickers(key);
    await removeDamaged(repository, [key], call);
    await repository.wal(systemId).pushTail(segment.name, slice.from, slice.to, bytes, call);
    return other.name;
  }
  return undefined;
}

/** The file in a repository that can be read there to its end; undefined when it is not there, or not whole. */
async function wholeIn(source: WalArchive, name: string, call: CallOptions): Promise<WalObject | undefined> {
  try {
    const object = await source.find(name, call);
    if (object === undefined) return undefined;
    for await (const chunk of source.read(object, call)) void chunk;
    return object;
  } catch (error) {
    if (problemOf(error) === undefined && !isArchiveError(error, 'CODEC_KEY')) throw error;
    return undefined;
  }
}

/** Reads it once more: what a bad cable did must not cost an object that is whole. */
async function isStillDamaged(
  repository: Repository,
  systemId: string,
  key: string,
  call: CallOptions,
): Promise<boolean> {
  const wal = repository.wal(systemId);
  const parsed = parseWalKey(key.slice(walPrefix(repository.cluster, systemId).length));
  if (parsed === undefined) return false;
  try {
    for await (const chunk of wal.read({ ...parsed, key, size: 0, modified: 0 }, call)) void chunk;
    return false;
  } catch (error) {
    if (problemOf(error) !== 'damaged') throw error;
    return true;
  }
}

async function isSliceDamaged(
  repository: Repository,
  systemId: string,
  slice: TailSlice,
  call: CallOptions,
): Promise<boolean> {
  try {
    await repository.wal(systemId).readSlice(slice, call);
    return false;
  } catch (error) {
    if (problemOf(error) !== 'damaged') throw error;
    return true;
  }
}

function flickers(key: string): ArchiveError {
  return new ArchiveError(
    'STORAGE_CORRUPT',
    `${key} was whole when it was read again: the storage, or the way to it, is at fault`,
  );
}
