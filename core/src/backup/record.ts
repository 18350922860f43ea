/** From what the server sent to what `backup.json` says. */
import { ArchiveError } from '../contracts/errors.ts';
import { formatLsn } from '../postgres/lsn.ts';
import type { BaseBackupResult } from '../postgres/replication/base-backup.ts';
import type { BackupObject, BackupRecord } from '../repository/backup-record.ts';
import type { Repository } from '../repository/repository.ts';
import { damagedFiles } from './damaged-files.ts';
import { MANIFEST_NAME, type Transferred } from './transfer.ts';

/** What a record says of the objects of its own repository. */
type StoredFacts = Pick<BackupRecord, 'codecs' | 'parts' | 'manifest' | 'fileList'>;

/** What the records of one backup say in every repository. */
export type CommonFacts = Omit<BackupRecord, keyof StoredFacts>;

type SentFacts = Pick<
  BackupRecord,
  | 'segmentSize'
  | 'timeline'
  | 'startLsn'
  | 'stopTimeline'
  | 'stopLsn'
  | 'nextXid'
  | 'dataChecksums'
  | 'fromStandby'
  | 'tablespaces'
  | 'files'
  | 'dataSize'
  | 'suspect'
>;

/** The facts that follow from the stream. */
export function sentFacts(
  { start, files, label, control }: Transferred,
  result: BaseBackupResult,
  warnings: readonly string[],
): SentFacts {
  return {
    segmentSize: control.walSegmentSize,
    timeline: start.timeline,
    startLsn: formatLsn(start.lsn),
    stopTimeline: result.stopTimeline,
    stopLsn: formatLsn(result.stopLsn),
    nextXid: String(control.checkpoint.nextXid),
    dataChecksums: control.dataChecksumVersion !== 0,
    fromStandby: label.from === 'standby',
    tablespaces: start.tablespaces.flatMap(({ oid, location }) =>
      oid === undefined ? [] : [{ oid: String(oid), location: location ?? '' }],
    ),
    files: files.length,
    dataSize: files.dataSize,
    ...suspicion(result, warnings),
  };
}

function suspicion(result: BaseBackupResult, warnings: readonly string[]): Pick<BackupRecord, 'suspect'> {
  if (result.checksumFailure === undefined) return {};
  return { suspect: { message: result.checksumFailure, files: [...damagedFiles(warnings)] } };
}

/** The facts of one repository, from the objects that it stored. */
export function storedFacts(
  codecs: Repository['codecs'],
  { parts }: Pick<Transferred, 'parts'>,
  stored: ReadonlyMap<string, BackupObject>,
  fileList: BackupObject,
): StoredFacts {
  const storedAs = (name: string): BackupObject => {
    const object = stored.get(name);
    if (object === undefined) throw new ArchiveError('INTERNAL', `${name} of the backup was not stored`);
    return object;
  };
  return {
    codecs: codecs.map(({ id, suffix, keyIds = [] }) => ({ id, suffix, keyIds: [...keyIds] })),
    parts: parts.map(({ archive, number, name, entries }) => ({ ...storedAs(name), archive, number, entries })),
    manifest: storedAs(MANIFEST_NAME),
    fileList,
  };
}
