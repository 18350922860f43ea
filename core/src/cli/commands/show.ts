import type { Command } from 'commander';
import type { BackupWal } from '../../archive/backup-wal.ts';
import type { ShownBackup } from '../../archive/show.ts';
import type { BackupObject } from '../../repository/backup-record.ts';
import { describeGap } from '../../repository/wal-gaps.ts';
import { asOfOption, pastOf } from '../as-of-option.ts';
import { count, formatBytes, formatTime } from '../../documents/format.ts';
import { formatRatio } from '../../documents/backup-ratio.ts';
import { firstOf, lastOf, shownDocument, storedSize } from '../../documents/backup-document.ts';
import { drillText } from '../../documents/drill-text.ts';
import { examples } from '../help.ts';
import type { Output } from '../output.ts';
import { pinText } from '../../documents/pin-text.ts';
import { runCommand } from '../run.ts';
import { verifiedText } from '../../documents/verified-text.ts';

export function register(program: Command): void {
  const show = program
    .command('show')
    .description('show one backup: its parts, and whether the WAL it needs is archived')
    .argument('<id>', 'of the backup, or "latest"')
    .addOption(asOfOption())
    .action(async (id: string, flags: { readonly asOf?: Date }, command: Command) =>
      runCommand(command, async ({ output, archive }) => {
        const opened = await archive();
        const shown = await opened.show(id, pastOf(flags));
        if (output.isJson) output.json(shownDocument(shown));
        else print(output, shown);
        if (shown.failure !== undefined) throw shown.failure;
      }),
    );
  examples(show, [
    ['pgark show latest', 'the newest complete backup'],
    ['pgark show 20261121T064530Z-3f9a --json', 'everything about this one, for programs'],
  ]);
}

function print(output: Output, shown: ShownBackup): void {
  const { record } = shown;
  const facts = factLines(shown);
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

function factLines({
  record,
  wal,
  gaps,
  pins,
  verified,
  drills,
}: ShownBackup): readonly (readonly [name: string, value: string])[] {
  const at = (lsn: string, timeline: number, time: string): string =>
    `${lsn} on timeline ${timeline}, ${formatTime(time)}`;
  const { suspect } = record;
  return [
    ['backup', record.id],
    ['label', record.label],
    ['type', record.kind],
    ['state', suspect === undefined ? 'complete' : 'SUSPECT: the server found damaged pages'],
    ...(suspect?.files ?? []).map((file) => ['damaged', file] as const),
    ...pins.map((pin) => ['pinned', pinText(pin)] as const),
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
