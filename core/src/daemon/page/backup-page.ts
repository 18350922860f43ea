/** One backup, in each repository that has it, as the last look saw it. */
import type { ListedBackup } from '../../archive/list.ts';
import { storedSize } from '../../documents/backup-document.ts';
import { formatRatio } from '../../documents/backup-ratio.ts';
import { drillText } from '../../documents/drill-text.ts';
import { count, formatBytes, formatDuration } from '../../documents/format.ts';
import { pinText } from '../../documents/pin-text.ts';
import { describeGap } from '../../repository/wal-gaps.ts';
import { stateOf, verifiedMark } from './backups-page.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { errorText, notices } from './notices.ts';
import { live, shell } from './shell.ts';
import { facts } from './table.ts';
import type { ClusterViewing } from './viewing.ts';
import { lsnText, moment } from './words.ts';

/** Undefined when the last look knows no such backup. */
export function backupPage(viewing: ClusterViewing, id: string): string | undefined {
  const { cluster, now } = viewing;
  const look = cluster.latest();
  const copies = look?.backups?.backups.filter((backup) => backup.id === id) ?? [];
  if (copies.length === 0) return undefined;
  const verdict = look?.status?.status.system?.backups.find(({ backup }) => backup.id === id)?.verdict;
  const problem = verdict === undefined || verdict.state === 'restorable' ? undefined : verdict;
  const body = markup`${live('notices', notices(viewing))}<h1>Backup <span class="mono">${id}</span></h1>
${problem !== undefined && markup`<div class="banner bad"><p>${problem.state}: ${problem.problem}</p></div>`}
${copies.map(
  (copy, at) =>
    markup`<section class="sheet" aria-labelledby="copy-${at}"><h2 id="copy-${at}">In repository ${copy.repository}</h2>${facts(linesOf(copy, now))}</section>`,
)}`;
  return shell(viewing, { title: `Backup ${id}`, cluster: cluster.name, tab: 'backups', body });
}

function linesOf(backup: ListedBackup, now: number): readonly (readonly [string, Child])[] {
  const common: readonly (readonly [string, Child])[] = [
    ['state', stateOf(backup)],
    ['verified', verifiedMark(backup, now)],
    ['last drill', drillText(backup.drill)],
    ...(backup.pin === undefined ? [] : [['pinned', pinText(backup.pin)] as const]),
  ];
  if (backup.state === 'unreadable') return [...common, ['problem', errorText(backup.error)]];
  if (backup.state !== 'complete') return common;
  const { record, gaps } = backup;
  const at = (lsn: string, timeline: number, time: string): Markup =>
    markup`${moment(time)}, ${lsnText(lsn)} on timeline ${timeline}`;
  return [
    ...common,
    ['label', record.label],
    ['type', record.kind],
    ...(record.suspect === undefined
      ? []
      : [
          [
            'damaged',
            markup`${record.suspect.message}${record.suspect.files.map((file) => markup`<span class="under mono">${file}</span>`)}`,
          ] as const,
        ]),
    [
      'server',
      `PostgreSQL ${Math.floor(record.serverVersion / 10_000)}.${record.serverVersion % 10_000} at ${record.host}${record.fromStandby ? ', a standby' : ''}`,
    ],
    ['begun', at(record.startLsn, record.timeline, record.startTime)],
    ['consistent', at(record.stopLsn, record.stopTimeline, record.stopTime)],
    ['took', formatDuration(Date.parse(record.stopTime) - Date.parse(record.startTime))],
    ['data', `${formatBytes(record.dataSize)} in ${count(record.files, 'file')}`],
    [
      'stored',
      `${formatBytes(storedSize(record))} in ${count(record.parts.length, 'part')}, ratio ${formatRatio(record)}`,
    ],
    ['codecs', record.codecs.map(({ id }) => id).join(', then ') || 'none'],
    ['checksums', record.dataChecksums ? 'on' : 'off'],
    ...record.tablespaces.map(
      ({ oid, location }) => [`tablespace ${oid}`, markup`<span class="mono">${location}</span>`] as const,
    ),
    ...gaps.map((gap) => ['GAP', `${describeGap(gap)}: it can be restored up to there`] as const),
    ['system', record.systemId],
  ];
}
