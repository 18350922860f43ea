/** Heals the objects of a backup. Its record has the digests of their stored bytes, so only the very same bytes will do, or a new record. */
import { encodeThrough } from '../contracts/codec-chain.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { copyBackup } from '../copy/copy-backup.ts';
import { Digest } from '../pipeline/digest.ts';
import { hashInThread } from '../pipeline/hash-thread.ts';
import { store } from '../pipeline/store.ts';
import type { BackupObject, BackupRecord } from '../repository/backup-record.ts';
import { splitObjectName } from '../repository/backups.ts';
import type { Repository } from '../repository/repository.ts';
import { isSameBackup } from '../restore/backup-source.ts';
import type { Finding } from './finding.ts';
import { removeDamaged, type HealOptions, type HealOutcome } from './replace.ts';
import { listedName, objectsOf } from './record-check.ts';
import { isClosed, problemOf } from './report.ts';
import { verify } from './verify.ts';

/** A backup with what is wrong with it. */
export interface LostObjects {
  readonly systemId: string;
  readonly id: string;
  readonly findings: readonly Finding[];
}

/**
 * Puts objects back as they were, where that is possible: another repository has the same stored bytes, or the codecs make them again. Else,
 * and when `backup.json` itself is lost, the backup is copied anew: its record goes first, then what is damaged, then what is whole in
 * another repository comes, and what is whole here stays. Errors: those of the storages.
 */
export async function healBackup(lost: LostObjects, options: HealOptions): Promise<readonly HealOutcome[]> {
  const { findings } = lost;
  const isLost = ({ problem }: Finding): boolean => problem === 'missing' || problem === 'damaged';
  // What a damaged record says of the objects is not to be relied on.
  const isRecordLost = findings.some((finding) => isLost(finding) && finding.key.endsWith('/backup.json'));
  if (!isRecordLost && !findings.every(isLost))
    return findings.map(({ key }) => ({
      key,
      from: undefined,
      reason: 'what contradicts itself was stored like that, or it cannot be told which side is right',
    }));
  const call: CallOptions = options.signal === undefined ? {} : { signal: options.signal };
  const copies: { readonly other: Repository; readonly record: BackupRecord }[] = [];
  for (const other of options.others) {
    const record = await recordOf(other, lost, call);
    if (record !== undefined) copies.push({ other, record });
  }
  if (copies.length === 0)
    return findings.map(({ key }) => ({ key, from: undefined, reason: 'no other repository has this backup' }));
  const own = isRecordLost ? undefined : await recordOf(options.repository, lost, call);
  const [same] = own === undefined ? copies : copies.filter(({ record }) => isSameBackup(own, record));
  if (same === undefined)
    throw new ArchiveError('STORAGE_EXISTS', `the other repositories have another backup under the id ${lost.id}`);
  const outcomes: HealOutcome[] = [];
  for (const { key, problem } of findings) {
    const object = own && objectsOf(own).find(({ name }) => key.endsWith(`/${lost.id}/${name}`));
    if (object === undefined || !(await putSame(object, key, problem, { ...lost, ...same, options, call }))) break;
    outcomes.push({ key, from: same.other.name, reason: undefined });
  }
  if (outcomes.length === findings.length) return outcomes;
  await copyAnew(same, lost, options, call);
  return findings.map(({ key }) => ({ key, from: same.other.name, reason: undefined }));
}

async function recordOf(
  repository: Repository,
  { systemId, id }: LostObjects,
  call: CallOptions,
): Promise<BackupRecord | undefined> {
  try {
    return await repository.backups(systemId).read(id, call);
  } catch (error) {
    if (isArchiveError(error, 'BACKUP_NOT_FOUND') || isArchiveError(error, 'REPOSITORY_FORMAT')) return undefined;
    throw error;
  }
}

interface SameOptions extends LostObjects {
  readonly other: Repository;
  readonly record: BackupRecord;
  readonly options: HealOptions;
  readonly call: CallOptions;
}

/** Puts the stored bytes that the record of this repository names. Gives whether that was possible; nothing is changed where it is not. */
async function putSame(
  object: BackupObject,
  key: string,
  problem: Finding['problem'],
  { systemId, id, other, record, options, call }: SameOptions,
): Promise<boolean> {
  const { repository } = options;
  const theirs = objectsOf(record).find((one) => listedName(one) === listedName(object));
  if (theirs === undefined) return false;
  const source =
    theirs.storedSha256 === object.storedSha256
      ? (): AsyncIterable<Uint8Array> => other.storage.get(other.backups(systemId).objectKey(id, theirs.name), call)
      : encodedAs(object, repository, () => other.backups(systemId).readObject(id, theirs, call), call);
  if (source === undefined || (await digestOf(source())) !== object.storedSha256) return false;
  if (problem === 'damaged') {
    if ((await digestOf(repository.storage.get(key, call))) === object.storedSha256)
      throw new ArchiveError(
        'STORAGE_CORRUPT',
        `${key} was whole when it was read again: the storage, or the way to it, is at fault`,
      );
    await removeDamaged(repository, [key], call);
  }
  const again: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => source()[Symbol.asyncIterator]() };
  await store(repository.storage, key, again, {
    ...call,
    codecs: [],
    concurrency: 1,
    plainDigest: object.storedSha256,
    large: true,
  });
  for await (const chunk of repository.backups(systemId).readObject(id, object, call)) void chunk;
  return true;
}

/** The same plain bytes, encoded as this repository does it; undefined where that never gives the same bytes twice. */
function encodedAs(
  { name }: BackupObject,
  { codecs }: Repository,
  read: () => AsyncIterable<Uint8Array>,
  { signal }: CallOptions,
): (() => AsyncIterable<Uint8Array>) | undefined {
  const { suffixes } = splitObjectName(name);
  const isOurs = codecs.length === suffixes.length && codecs.every(({ suffix }, at) => suffix === suffixes[at]);
  // What is encrypted begins with random bytes.
  if (!isOurs || codecs.some(({ keyIds }) => keyIds !== undefined)) return undefined;
  if (codecs.length === 0) return read;
  return () => encodeThrough(codecs, read(), { concurrency: 2, ...(signal === undefined ? {} : { signal }) });
}

async function digestOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const digest = new Digest(hashInThread);
  for await (const chunk of digest.tap(source)) void chunk;
  return digest.sha256;
}

/** Copies what is lost from a repository in which all of the backup was read and found good just before. */
async function copyAnew(
  { other, record }: { readonly other: Repository; readonly record: BackupRecord },
  { systemId, id }: LostObjects,
  { repository, concurrency }: HealOptions,
  call: CallOptions,
): Promise<void> {
  const catalog = repository.backups(systemId);
  const names = await catalog.objectNames(id, call);
  const stays = [...names].some(
    (name) => name !== 'backup.json' && name !== catalog.objectName(splitObjectName(name).name),
  );
  if (stays)
    throw new ArchiveError(
      'USAGE',
      `backup ${id} in repository ${repository.name} was stored with other codecs than the config says: it is not copied into`,
      { hint: `Put the codecs into the config that "pgark show ${id}" names, and run it again.` },
    );
  await checkWhole(other, { systemId, id }, concurrency, call);
  const different: string[] = [];
  for (const object of objectsOf(record)) {
    const name = catalog.objectName(listedName(object));
    if (names.has(name) && !(await isSame(object, { repository, other, systemId, id, call })))
      different.push(catalog.objectKey(id, name));
  }
  // First the object that makes the backup exist: an interruption leaves an incomplete one, which this command finishes.
  if (names.has('backup.json')) await removeDamaged(repository, [catalog.objectKey(id, 'backup.json')], call);
  if (different.length > 0) await removeDamaged(repository, different, call);
  await copyBackup(record, { source: other, target: repository, concurrency, onBytes: () => undefined, ...call });
  await checkWhole(repository, { systemId, id }, concurrency, call);
}

/** Whether an object of a backup is here what it is there. Errors: those of the storages. */
async function isSame(
  object: BackupObject,
  {
    repository,
    other,
    systemId,
    id,
    call,
  }: Pick<SameOptions, 'other' | 'systemId' | 'id' | 'call'> & { readonly repository: Repository },
): Promise<boolean> {
  const theirs = other.backups(systemId).readObject(id, object, call);
  try {
    return (await repository.backups(systemId).matchObject(id, listedName(object), theirs, call)) !== undefined;
  } catch (error) {
    // Theirs was whole a moment ago.
    if (problemOf(error) !== 'damaged' && !isClosed(error)) throw error;
    return false;
  }
}

/** Reads all objects of a backup. Errors: `BACKUP_CORRUPT` when it is not whole, or cannot be looked at; those of the storage. */
async function checkWhole(
  repository: Repository,
  { systemId, id }: Pick<LostObjects, 'systemId' | 'id'>,
  concurrency: number,
  call: CallOptions,
): Promise<void> {
  const result = await verify({ repository, level: 'full', backups: [id], concurrency, ...call });
  if (result.stopped !== undefined) throw result.stopped;
  const folder = repository.backups(systemId).objectKey(id, '');
  const own = result.subjects.flatMap(({ report }) => [...report.findings, ...report.skipped]);
  const amiss = own.find(({ key }) => key.startsWith(folder));
  if (amiss === undefined) return;
  throw new ArchiveError(
    'BACKUP_CORRUPT',
    `backup ${id} is not whole in repository ${repository.name} either: ${amiss.message}`,
  );
}
