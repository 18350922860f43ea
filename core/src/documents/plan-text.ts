/** A plan in words. */
import { formatLsn } from '../postgres/lsn.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import type { Setting } from '../restore/recovery-settings.ts';
import { describeTarget } from '../restore/target.ts';
import { formatMoment } from '../restore/time-text.ts';
import { count, formatBytes, formatTime } from './format.ts';

/** Names and what is said of each, in columns. */
export function planLines(plan: RestorePlan, settings: readonly Setting[]): readonly string[] {
  const { backup, wal } = plan;
  const first = wal.pieces[0];
  const last = wal.pieces.at(-1);
  const version = `PostgreSQL ${Math.floor(backup.serverVersion / 10_000)}.${backup.serverVersion % 10_000}`;
  const sources = new Set(wal.pieces.map(({ source }) => source).filter((source) => source !== 'archive'));
  const lines: (readonly [string, string])[] = [
    ['cluster', `${plan.cluster}, system ${plan.systemId}, ${version}`],
    ['target', describeTarget(plan.target) + goalText(plan)],
    ['after it', plan.standby ? 'standby' : plan.action],
    [
      'backup',
      `${backup.id}, consistent at ${backup.stopLsn} on timeline ${backup.stopTimeline}, ${formatTime(backup.stopTime)}`,
    ],
    ...(plan.sources.repositories.length === 1 && plan.copies.length === 1 ? [] : [['', placesText(plan)] as const]),
    [
      'timelines',
      plan.path.map(({ timeline, end }) => timeline + (end === undefined ? '' : ` up to ${formatLsn(end)}`)).join(', '),
    ],
    [
      'WAL',
      `${count(wal.pieces.length, 'segment')}, ${first?.name ?? '-'} to ${last?.name ?? '-'}, ${formatBytes(wal.storedBytes)} in the archive`,
    ],
    ...(sources.size === 0
      ? []
      : [['', `with what is in: ${[...sources].map((source) => SOURCES[source]).join(', ')}`] as const]),
    ...(wal.end === undefined ? [] : [['WAL ends', walEnd(plan)] as const]),
    ['missing', missingText(plan)],
    ['data', `${formatBytes(backup.dataSize)} in ${count(backup.files, 'file')}`],
    ...plan.folders.map(({ path, needed, free }, at): readonly [string, string] => [
      at === 0 ? 'folder' : 'tablespace',
      `${path}: ${formatBytes(needed)} needed, ${free === undefined ? 'free space unknown' : `${formatBytes(free)} free`}`,
    ]),
    ...settings.map(([name, value], at): readonly [string, string] => [
      at === 0 ? 'settings' : '',
      `${name} = '${value}'`,
    ]),
    ...plan.warnings.map((text): readonly [string, string] => ['warning', text]),
    ...plan.problems.map(({ message }): readonly [string, string] => ['PROBLEM', message]),
  ];
  return lines.map(([title, text]) => `${title.padEnd(11)}${text}`);
}

const SOURCES = {
  archive: 'the archive',
  spool: 'the spool of the receiver',
  tail: 'the slices of the last segment',
  partial: 'the last segment before a promotion',
} as const;

/** Where the backup and the WAL come from, with several repositories. */
function placesText({ sources, copies }: RestorePlan): string {
  const names = (of: readonly { readonly name: string }[]): string => of.map(({ name }) => name).join(', then ');
  return `from ${names(copies.map(({ repository }) => repository))}; WAL from ${names(sources.repositories)}`;
}

function goalText({ goal, target }: RestorePlan): string {
  if (goal === undefined || target.kind === 'lsn') return '';
  return ` at ${formatLsn(goal.lsn)}${goal.micros === undefined ? '' : `, ${formatMoment(goal.micros)}`}`;
}

function walEnd({ wal }: RestorePlan): string {
  const time =
    wal.lastTransaction === undefined ? 'no transaction' : `last transaction ${formatMoment(wal.lastTransaction)}`;
  return `${wal.end === undefined ? 'unknown' : formatLsn(wal.end)}, ${time}`;
}

function missingText({ wal: { gap }, problems }: RestorePlan): string {
  if (gap === undefined) return 'nothing';
  const names = gap.names.slice(0, 5).join(', ') + (gap.count > 5 ? ` and ${gap.count - 5} more` : '');
  return problems.length > 0 ? names : `nothing up to the target; behind it ${names}`;
}
