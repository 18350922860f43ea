/** Whether a `backup.json` is what was written, as far as it can be seen from itself and from the listing beside it. */
import { isArchiveError } from '../contracts/errors.ts';
import { parseLsn } from '../postgres/lsn.ts';
import { isSegmentSize } from '../postgres/wal-file.ts';
import { parseBackupRecord, unknownKey, type BackupObject, type BackupRecord } from '../repository/backup-record.ts';
import { splitObjectName } from '../repository/backups.ts';
import { checkSeal } from '../repository/seal.ts';

/** Where a record was found. */
export interface RecordPlace {
  readonly key: string;
  readonly id: string;
  readonly systemId: string;
  readonly cluster: string;
}

export interface CheckedRecord {
  /** Undefined when it cannot be read as one. */
  readonly record: BackupRecord | undefined;
  /** Whether it carries its own digest. */
  readonly sealed: boolean;
  /** What is wrong, each with the key. */
  readonly faults: readonly string[];
}

/**
 * Reads a record as strictly as can be. With the digest that it carries any other bytes are found; one of an earlier version, without it,
 * is held against its form and its place, and later against all that it describes.
 */
export function checkRecord(bytes: Uint8Array, place: RecordPlace): CheckedRecord {
  const { key } = place;
  const seal = checkSeal(bytes);
  let record: BackupRecord;
  try {
    record = parseBackupRecord(bytes, key);
  } catch (error) {
    if (!isArchiveError(error, 'REPOSITORY_FORMAT')) throw error;
    return { record: undefined, sealed: seal.sealed, faults: [error.message] };
  }
  const faults: string[] = [];
  if (seal.fault !== undefined) faults.push(`${key} ${seal.fault}`);
  // Its own digest would vouch for keys of a later version; without one they are letters that were altered.
  const unknown = seal.sealed ? undefined : unknownKey(bytes, record);
  if (unknown !== undefined) faults.push(`${key} has a key that no backup has: ${unknown}`);
  for (const fault of contradictions(record, place)) faults.push(`${key} ${fault}`);
  return { record, sealed: seal.sealed, faults };
}

function* contradictions(record: BackupRecord, place: RecordPlace): Generator<string> {
  for (const what of ['id', 'systemId', 'cluster'] as const)
    if (record[what] !== place[what])
      yield `says ${what} ${JSON.stringify(record[what])} where ${JSON.stringify(place[what])} is`;
  if (!isSegmentSize(record.segmentSize)) yield `has an impossible segment size: ${record.segmentSize}`;
  if (parseLsn(record.stopLsn) < parseLsn(record.startLsn)) yield 'stops before it starts';
  if (record.stopTimeline < record.timeline) yield 'stops on an earlier timeline than it starts on';
  const suffixes = record.codecs.map(({ suffix }) => `.${suffix}`).join('');
  const known = new Set(['base', ...record.tablespaces.map(({ oid }) => oid)]);
  const numbers = new Map<string, number>();
  for (const { name, archive, number } of record.parts) {
    const next = numbers.get(archive) ?? 0;
    numbers.set(archive, next + 1);
    if (number !== next) yield `numbers part ${name} ${number}, where ${next} is next`;
    if (name !== `${archive}/${String(number).padStart(4, '0')}.tar${suffixes}`) yield `gives a part the name ${name}`;
    if (!known.has(archive)) yield `has a part of a tablespace that it does not name: ${name}`;
  }
  for (const archive of known) if (!numbers.has(archive)) yield `has no part of ${archive}`;
  if (record.manifest.name !== `backup_manifest${suffixes}`) yield `names its manifest ${record.manifest.name}`;
  if (record.fileList.name !== `files.json${suffixes}`) yield `names its file list ${record.fileList.name}`;
  for (const object of objectsOf(record)) {
    if (suffixes === '' && object.plainSize !== object.storedSize)
      yield `has two sizes of ${object.name}, which no codec changed`;
    if (suffixes === '' && (object.plainSha256 ?? object.storedSha256) !== object.storedSha256)
      yield `has two digests of ${object.name}, which no codec changed`;
  }
}

/** All objects that a record names, the manifest and the file list first. */
export function objectsOf({ manifest, fileList, parts }: BackupRecord): readonly BackupObject[] {
  return [manifest, fileList, ...parts];
}

/** What a listing says of an object. */
export interface ListingFault {
  readonly name: string;
  readonly problem: 'missing' | 'damaged';
  /** What follows the key: `is not there`. */
  readonly text: string;
}

/** Objects that are not there, or have another size than the record says. */
export function checkListing(record: BackupRecord, listed: ReadonlyMap<string, number>): readonly ListingFault[] {
  return objectsOf(record).flatMap(({ name, storedSize }): readonly ListingFault[] => {
    const size = listed.get(name);
    if (size === undefined) return [{ name, problem: 'missing', text: 'is not there' }];
    if (size === storedSize) return [];
    return [{ name, problem: 'damaged', text: `has ${size} bytes, backup.json says ${storedSize}` }];
  });
}

/** Names below the folder of a backup that its record does not know. */
export function strangersOf(record: BackupRecord, listed: ReadonlyMap<string, number>): readonly string[] {
  const known = new Set([...objectsOf(record).map(({ name }) => name), 'backup.json']);
  return [...listed.keys()].filter((name) => !known.has(name));
}

/** The name of an object as the file list calls it. */
export function listedName(object: BackupObject): string {
  return splitObjectName(object.name).name;
}
