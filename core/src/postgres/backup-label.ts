/**
 * The file `backup_label`, from which a restored server learns where its WAL begins (PostgreSQL source:
 * `build_backup_content` in `access/transam/xlogbackup.c`). The server reads it with a rigid pattern, so its lines keep their
 * order and spelling.
 */
import { ArchiveError } from '../contracts/errors.ts';
import { bytesToText, textToBytes } from './lossless-text.ts';
import { formatLsn, parseLsn } from './lsn.ts';

/** What a `backup_label` says. */
export interface BackupLabel {
  /** Redo begins here: the first WAL that a restore needs. */
  readonly startLsn: bigint;
  /** The WAL segment of `startLsn`. */
  readonly startSegment: string;
  readonly checkpointLsn: bigint;
  readonly method: string;
  /** `primary` or `standby`. */
  readonly from: string;
  /** In the time zone of the server's log, which it names: `2026-11-21 05:33:13 UTC`. */
  readonly startTime: string;
  /** As the backup was asked for; bytes that are not UTF-8 as in `lossless-text.ts`. */
  readonly label: string;
  readonly timeline: number;
  /** For an incremental backup, where the one before it started. */
  readonly incrementalFrom?: { readonly lsn: bigint; readonly timeline: number };
}

const LSN = '([0-9A-F]{1,8}/[0-9A-F]{1,8})';
// The label is what its giver wrote, newlines too: hence greedy, up to the last lines of the known form.
const PATTERN = new RegExp(
  `^START WAL LOCATION: ${LSN} \\(file ([0-9A-F]{24})\\)\n` +
    `CHECKPOINT LOCATION: ${LSN}\n` +
    'BACKUP METHOD: ([^\n]+)\n' +
    'BACKUP FROM: ([^\n]+)\n' +
    'START TIME: ([^\n]+)\n' +
    'LABEL: ([\\s\\S]*)\n' +
    'START TIMELINE: (\\d{1,10})\n' +
    `(?:INCREMENTAL FROM LSN: ${LSN}\nINCREMENTAL FROM TLI: (\\d{1,10})\n)?$`,
);

/** Reads a `backup_label`; `name` is its file's, for messages. Throws `BACKUP_CORRUPT` when it is none. */
export function parseBackupLabel(content: Uint8Array, name = 'backup_label'): BackupLabel {
  const match = PATTERN.exec(bytesToText(content));
  if (match === null) throw new ArchiveError('BACKUP_CORRUPT', `${name} is not a backup label of PostgreSQL`);
  const [, start, segment, checkpoint, method, from, time, label, timeline, incrementalLsn, incrementalTimeline] =
    match as unknown as readonly [string, string, string, string, string, string, string, string, string, ...string[]];
  return {
    startLsn: parseLsn(start),
    startSegment: segment,
    checkpointLsn: parseLsn(checkpoint),
    method,
    from,
    startTime: time,
    label,
    timeline: Number(timeline),
    ...(incrementalLsn === undefined
      ? {}
      : { incrementalFrom: { lsn: parseLsn(incrementalLsn), timeline: Number(incrementalTimeline) } }),
  };
}

/** Writes a `backup_label` the way servers 15 to 18 do. */
export function formatBackupLabel(label: BackupLabel): Uint8Array {
  const lines = [
    `START WAL LOCATION: ${formatLsn(label.startLsn)} (file ${label.startSegment})`,
    `CHECKPOINT LOCATION: ${formatLsn(label.checkpointLsn)}`,
    `BACKUP METHOD: ${label.method}`,
    `BACKUP FROM: ${label.from}`,
    `START TIME: ${label.startTime}`,
    `LABEL: ${label.label}`,
    `START TIMELINE: ${label.timeline}`,
  ];
  if (label.incrementalFrom !== undefined) {
    lines.push(`INCREMENTAL FROM LSN: ${formatLsn(label.incrementalFrom.lsn)}`);
    lines.push(`INCREMENTAL FROM TLI: ${label.incrementalFrom.timeline}`);
  }
  return textToBytes(lines.map((line) => `${line}\n`).join(''));
}
