/** Holds `backup.json` against what the files in the backup say of themselves. */
import { isArchiveError } from '../contracts/errors.ts';
import { parseBackupLabel } from '../postgres/backup-label.ts';
import { CONTROL_FILE_PATH, parseControlFile } from '../postgres/control-file.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { segmentName, segmentNumber } from '../postgres/wal-file.ts';
import type { BackupRecord } from '../repository/backup-record.ts';

/** Control file versions of the servers. */
const CONTROL_VERSIONS: ReadonlyMap<number, readonly number[]> = new Map([
  [1300, [15, 16]],
  [1700, [17]],
  [1800, [18]],
]);

/** What each of these files, by path, contradicts. */
export function clusterFaults(record: BackupRecord, contents: ReadonlyMap<string, Uint8Array>): readonly string[] {
  const faults: string[] = [];
  const major = Math.floor(record.serverVersion / 10_000);
  const look = (path: string, check: (content: Uint8Array) => readonly string[]): void => {
    const content = contents.get(path);
    if (content === undefined) return;
    try {
      faults.push(...check(content).map((fault) => `${path} ${fault}`));
    } catch (error) {
      if (!isArchiveError(error)) throw error;
      faults.push(error.message);
    }
  };
  look(CONTROL_FILE_PATH, (content) => [...controlFaults(record, content, major)]);
  look('backup_label', (content) => [...labelFaults(record, content)]);
  look('PG_VERSION', (content) => {
    const text = Buffer.from(content).toString('latin1').trim();
    return text === String(major) ? [] : [`says PostgreSQL ${text}, backup.json ${major}`];
  });
  return faults;
}

function* controlFaults(record: BackupRecord, content: Uint8Array, major: number): Generator<string> {
  const control = parseControlFile(content);
  const differs = (what: string, found: unknown, said: unknown): readonly string[] =>
    found === said ? [] : [`has ${what} ${String(found)}, backup.json says ${String(said)}`];
  yield* differs('system identifier', control.systemId, record.systemId);
  yield* differs('segment size', control.walSegmentSize, record.segmentSize);
  yield* differs('next transaction id', String(control.checkpoint.nextXid), record.nextXid);
  yield* differs('page checksums', control.dataChecksumVersion !== 0, record.dataChecksums);
  if (CONTROL_VERSIONS.get(control.controlVersion)?.includes(major) !== true)
    yield `is of version ${control.controlVersion}, which is not that of PostgreSQL ${major}`;
}

function* labelFaults(record: BackupRecord, content: Uint8Array): Generator<string> {
  const label = parseBackupLabel(content);
  const start = parseLsn(record.startLsn);
  if (label.startLsn !== start) yield `begins at ${formatLsn(label.startLsn)}, backup.json says ${record.startLsn}`;
  if (label.timeline !== record.timeline) yield `is of timeline ${label.timeline}, backup.json says ${record.timeline}`;
  if (label.label !== record.label) yield 'has another label than backup.json';
  if ((label.from === 'standby') !== record.fromStandby)
    yield `says that it is from a ${label.from}, backup.json does not`;
  if (label.startSegment !== segmentName(record.timeline, segmentNumber(start, record.segmentSize), record.segmentSize))
    yield `begins in ${label.startSegment}, which does not fit backup.json`;
}
