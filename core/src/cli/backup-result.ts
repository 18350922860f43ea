/** What `pgark backup` says when it is done: which repositories have the backup, and which have not. */
import type { BackupOutcome, BackupResult } from '../backup/backup.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { count, formatBytes, formatDuration, formatTime } from '../documents/format.ts';
import { formatRatio } from '../documents/backup-ratio.ts';
import { storedSize } from '../documents/backup-document.ts';
import type { Output } from './output.ts';

/** Prints the result; `duration` in milliseconds. */
export function printBackup(output: Output, result: BackupResult, duration: number): void {
  const { record, repositories } = result;
  if (output.isJson) {
    const durationMilliseconds = Math.round(duration);
    output.json({
      ...record,
      storedSize: storedSize(record),
      durationMilliseconds,
      repositories: repositories.map(jsonOutcome),
    });
    return;
  }
  for (const line of resultLines(result, duration)) output.line(line);
  if (repositories.length === 1) return;
  output.line();
  output.table(repositories, [
    { title: 'REPOSITORY', value: ({ name }) => name },
    { title: 'STATE', value: (outcome) => ('record' in outcome ? 'complete' : 'failed') },
    { title: 'STORED', align: 'right', value: ifThere((record) => formatBytes(storedSize(record))) },
    { title: 'PARTS', align: 'right', value: ifThere(({ parts }) => parts.length) },
    { title: 'RATIO', align: 'right', value: ifThere(formatRatio) },
  ]);
}

function jsonOutcome(outcome: BackupOutcome): object {
  const { name } = outcome;
  if ('record' in outcome) return { name, state: 'complete', storedSize: storedSize(outcome.record) };
  const { code, message } = outcome.error;
  return { name, state: 'failed', error: { code, message } };
}

function ifThere<Value>(value: (record: BackupRecord) => Value): (outcome: BackupOutcome) => Value | undefined {
  return (outcome) => ('record' in outcome ? value(outcome.record) : undefined);
}

function resultLines({ record, repositories }: BackupResult, duration: number): readonly string[] {
  const at = (lsn: string, timeline: number, time: string): string =>
    `${lsn} on timeline ${timeline}, ${formatTime(time)}`;
  const complete = repositories.filter((outcome) => 'record' in outcome).length;
  const several = repositories.length > 1;
  const where = several ? ` in ${complete} of ${repositories.length} repositories` : '';
  const stored = `${formatBytes(storedSize(record))} in ${count(record.parts.length, 'part')}, ratio ${formatRatio(record)}`;
  return [
    `backup ${record.id} is complete${where}${record.suspect === undefined ? '' : ', but SUSPECT'}`,
    `  start   ${at(record.startLsn, record.timeline, record.startTime)}`,
    `  stop    ${at(record.stopLsn, record.stopTimeline, record.stopTime)}`,
    `  data    ${formatBytes(record.dataSize)} in ${count(record.files, 'file')}`,
    ...(several ? [] : [`  stored  ${stored}`]),
    `  took    ${formatDuration(duration)}`,
  ];
}
