import type { Command } from 'commander';
import type { SegmentRun } from '../../backup/required-wal.ts';
import { ArchiveError } from '../../contracts/errors.ts';
import { segmentName } from '../../postgres/wal-file.ts';
import type { BackupObject, BackupRecord } from '../../repository/backup-record.ts';
import { describeGap, gapsInTheWayOf } from '../../repository/wal-gaps.ts';
import { asOfOption, pastOf } from '../as-of-option.ts';
import { gapDocument, type FoundGap } from '../backup-gaps.ts';
import { verifiedText, type Verified } from '../backup-verified.ts';
import type { BackupWal } from '../backup-wal.ts';
import { count, formatRatio, storedSize } from '../backup-view.ts';
import { drillText, type LastDrill } from '../drill-text.ts';
import { formatBytes, formatTime } from '../format.ts';
import { examples } from '../help.ts';
import type { Output } from '../output.ts';
import { runCommand } from '../run.ts';

export function register(program: Command): void {
  const show = program
    .command('show')
    .description('show one backup: its parts, and whether the WAL it needs is archived')
    .argument('<id>', 'of the backup, or "latest"')
    .addOption(asOfOption())
    .action(async (id: string, flags: { readonly asOf?: Date }, command: Command) =>
      runCommand(command, async (context) => {
        const { config, output, logger, signal } = context;
        const { chooseBackup, findBackups, showingOptions, throwFailures } = await import('../backups.ts');
        const { warnOfDropped } = await import('../dropped-warning.ts');
        warnOfDropped(config, logger);
        const { lookAtWal } = await import('../backup-wal.ts');
        const opened = await context.archive({ ...showingOptions(config), ...pastOf(flags) });
        const found = await findBackups(opened.repositories, { signal });
        const backup = chooseBackup(found, id);
        if (backup.state === 'unreadable') throw backup.error;
        if (backup.state === 'incomplete') {
          throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${backup.id} is incomplete: nothing is known of it`, {
            hint: 'It runs still, or it was interrupted; only a complete one can be restored.',
          });
        }
        if (backup.state === 'expired') {
          throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${backup.id} is being removed by "pgark expire"`, {
            hint: 'The next "pgark expire --confirm" finishes that; see "pgark list" for others.',
          });
        }
        const { record, repository } = backup;
        const wal = await lookAtWal(record, opened.repositories, found, { signal });
        const { findGaps } = await import('../backup-gaps.ts');
        const known = await findGaps(opened.repositories, found, { signal });
        const own = known.gaps.filter(({ systemId }) => systemId === record.systemId);
        const gaps = gapsInTheWayOf(record, own);
        const { findPins, pinDocument, pinText } = await import('../backup-pins.ts');
        const pinned = await findPins(opened.repositories, found, { signal });
        const pins = pinned.pins.filter((pin) => pin.id === record.id && pin.systemId === record.systemId);
        const { findVerified } = await import('../backup-verified.ts');
        const copies = found.backups.filter((one) => one.id === record.id && one.state === 'complete');
        const verified = [...(await findVerified(copies, { signal }))].map(([copy, last]) => ({
          repository: copy.repository.name,
          last,
        }));
        const { findDrills } = await import('../backup-drills.ts');
        const proofs = await findDrills(opened.repositories, { ...found, backups: copies }, { signal });
        const drills = copies.map((copy) => ({ repository: copy.repository.name, last: proofs.of(copy) }));
        if (output.isJson)
          output.json({
            ...documentOf(record, repository.name, wal),
            gaps: gaps.map(gapDocument),
            pins: pins.map(pinDocument),
            verified,
            drills,
          });
        else print(output, record, wal, { gaps, pins: pins.map(pinText), verified, drills });
        throwFailures([...wal.failures, ...known.failures, ...pinned.failures, ...proofs.failures]);
        if (wal.missing.length > 0) {
          throw new ArchiveError(
            'WAL_NOT_FOUND',
            `backup ${record.id} cannot be restored: its WAL is not all archived`,
            {
              hint: 'See which is missing above; another backup may be whole, see "pgark list".',
            },
          );
        }
      }),
    );
  examples(show, [
    ['pgark show latest', 'the newest complete backup'],
    ['pgark show 20261121T064530Z-3f9a --json', 'everything about this one, for programs'],
  ]);
}

function firstOf(run: SegmentRun, { segmentSize }: BackupRecord): string {
  return segmentName(run.timeline, run.first, segmentSize);
}

function lastOf(run: SegmentRun, { segmentSize }: BackupRecord): string {
  return segmentName(run.timeline, run.last, segmentSize);
}

/** A backup for programs. */
function documentOf(record: BackupRecord, repository: string, wal: BackupWal): Readonly<Record<string, unknown>> {
  const names = (runs: readonly SegmentRun[]): readonly unknown[] =>
    runs.map((run) => ({ from: firstOf(run, record), to: lastOf(run, record) }));
  return {
    ...record,
    repository,
    storedSize: storedSize(record),
    wal: { required: names(wal.required.runs), missing: names(wal.missing) },
    repositories: wal.holders.map((holder) => ({ name: holder.repository, missing: names(holder.missing) })),
  };
}

/** What is on record of a backup. */
interface OnRecord {
  readonly gaps: readonly FoundGap[];
  readonly pins: readonly string[];
  readonly verified: readonly { readonly repository: string; readonly last: Verified }[];
  readonly drills: readonly { readonly repository: string; readonly last: LastDrill }[];
}

function print(output: Output, record: BackupRecord, wal: BackupWal, known: OnRecord): void {
  const facts = factLines(record, wal, known);
  const width = Math.max(...facts.map(([name]) => name.length));
  for (const [name, value] of facts) output.line(`${name.padEnd(width)}  ${value}`);
  if (record.tablespaces.length > 0) {
    output.line();
    output.table(record.tablespaces, [
      { title: 'TABLESPACE', value: ({ oid }) => oid },
      { title: 'LOCATION', value: ({ location }) => location },
    ]);
  }
  output.line();
  output.table(
    [...record.parts, record.manifest, record.fileList],
    [
      { title: 'OBJECT', value: ({ name }) => name },
      { title: 'ENTRIES', value: (object: BackupObject & { readonly entries?: number }) => object.entries },
      { title: 'SIZE', value: ({ plainSize }) => formatBytes(plainSize), align: 'right' },
      { title: 'STORED', value: ({ storedSize: stored }) => formatBytes(stored), align: 'right' },
      { title: 'SHA-256 AS STORED', value: ({ storedSha256 }) => storedSha256 },
    ],
  );
}

function factLines(
  record: BackupRecord,
  wal: BackupWal,
  { gaps, pins, verified, drills }: OnRecord,
): readonly (readonly [name: string, value: string])[] {
  const at = (lsn: string, timeline: number, time: string): string =>
    `${lsn} on timeline ${timeline}, ${formatTime(time)}`;
  const { suspect } = record;
  return [
    ['backup', record.id],
    ['label', record.label],
    ['type', record.kind],
    ['state', suspect === undefined ? 'complete' : 'SUSPECT: the server found damaged pages'],
    ...(suspect?.files ?? []).map((file) => ['damaged', file] as const),
    ...pins.map((pin) => ['pinned', pin] as const),
    ['cluster', `${record.cluster}, system ${record.systemId}`],
    ...wal.holders.map(({ repository, missing }) => {
      const lacks = missing.map((run) => `${firstOf(run, record)} to ${lastOf(run, record)}`).join(', ');
      const note = wal.isShared ? (lacks === '' ? ', with all of its WAL' : `, without its WAL ${lacks}`) : '';
      return ['repository', repository + note] as const;
    }),
    [
      'server',
      `PostgreSQL ${formatVersion(record.serverVersion)} at ${record.host}${record.fromStandby ? ', a standby' : ''}`,
    ],
    ['checksums', record.dataChecksums ? 'on' : 'off'],
    ['start', at(record.startLsn, record.timeline, record.startTime)],
    ['stop', at(record.stopLsn, record.stopTimeline, record.stopTime)],
    ['data', `${formatBytes(record.dataSize)} in ${count(record.files, 'file')}`],
    [
      'stored',
      `${formatBytes(storedSize(record))} in ${count(record.parts.length, 'part')}, ratio ${formatRatio(record)}`,
    ],
    ['codecs', record.codecs.map(({ id }) => id).join(', then ') || 'none'],
    ...wal.required.runs.map((run) => ['WAL', `${firstOf(run, record)} to ${lastOf(run, record)}`] as const),
    ...wal.missing.map((run) => ['MISSING', `${firstOf(run, record)} to ${lastOf(run, record)}`] as const),
    ['WAL state', walState(wal)],
    ...gaps.map(
      (gap) => ['GAP', `${describeGap(gap)} (repository ${gap.repository}): it can be restored up to there`] as const,
    ),
    ...verified.map(
      ({ repository, last }) =>
        ['verified', verifiedText(last) + (wal.isShared ? ` (repository ${repository})` : '')] as const,
    ),
    ...drills.map(({ repository, last }) => {
      const where = drills.length === 1 ? '' : ` (repository ${repository})`;
      return ['proven', drillText(last) + where] as const;
    }),
    ['tool', `pgark ${record.tool}`],
  ];
}

function walState({ missing, failures }: BackupWal): string {
  if (missing.length === 0) return 'all archived';
  if (failures.length > 0) return 'unknown: a repository that may have what is missing could not be read';
  return 'not all archived: this backup cannot be restored';
}

/** `150018` as `15.18`. */
function formatVersion(version: number): string {
  return `${Math.floor(version / 10_000)}.${version % 10_000}`;
}
