/** The repositories: what each holds, whether it could be read, and what the last checks found. */
import type { RepositoryConfig } from '../../config/config.ts';
import { count, formatBytes, formatDuration } from '../../documents/format.ts';
import type { RecoveryMap } from '../../map/recovery-map.ts';
import type { Run } from '../../schedule/run.ts';
import { badge } from './badge.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { errorText, notices } from './notices.ts';
import { resultOf, runBadge } from './runs-page.ts';
import { clusterPath, live, shell } from './shell.ts';
import { facts, table } from './table.ts';
import type { ClusterViewing } from './viewing.ts';
import { momentAgo } from './words.ts';

export function repositoriesPage(viewing: ClusterViewing): string {
  const { cluster, now } = viewing;
  const look = cluster.latest();
  const map = look?.status?.status.map;
  const checks = look?.runs
    ?.filter(({ kind }) => kind === 'check')
    .toSorted((one, other) => other.started - one.started);
  const body = markup`${live('notices', notices(viewing))}<h1>Repositories</h1>
${live(
  'repositories',
  cluster.archive.config.repositories.map((repository) => sheetOf(repository, map, now)),
)}
<section class="sheet" aria-labelledby="checks"><h2 id="checks">Checks</h2>${live('checks', checksTable(cluster.name, checks, now))}</section>`;
  return shell(viewing, { title: 'Repositories', cluster: cluster.name, tab: 'repositories', body });
}

function sheetOf(config: RepositoryConfig, map: RecoveryMap | undefined, now: number): Markup {
  const { name } = config;
  const failure = map?.failures.find(({ repository }) => repository === name);
  const read = map?.repositories.find((repository) => repository.name === name);
  const state =
    failure !== undefined
      ? badge('bad', 'could not be read')
      : read === undefined
        ? badge('dim', 'unknown')
        : badge('good', 'read');
  return markup`<section class="sheet" aria-labelledby="repository-${name}"><div class="head"><h2 id="repository-${name}">${name}</h2>${state}</div>
${failure !== undefined && markup`<p>${errorText(failure.error)}</p>`}${facts([...settingsOf(config), ...(read === undefined ? [['holds', 'unknown'] as const] : holdingsOf(read.state, now))])}</section>`;
}

function settingsOf({
  storage,
  codecs,
  lock,
  readOnly,
  prefix,
}: RepositoryConfig): readonly (readonly [string, Child])[] {
  return [
    ['storage', storage.use],
    ['codecs', codecs.map(({ use }) => use).join(', then ') || 'none'],
    ...(prefix === undefined ? [] : [['prefix', prefix] as const]),
    ...(lock === undefined ? [] : [['locked for', formatDuration(lock)] as const]),
    ...(readOnly ? [['access', 'read only'] as const] : []),
  ];
}

function holdingsOf(
  { listed, since, systems }: RecoveryMap['repositories'][number]['state'],
  now: number,
): readonly (readonly [string, Child])[] {
  return [
    ...systems.map(({ systemId, wal, backups }): readonly [string, Child] => {
      const complete = backups.flatMap((entry) => (entry.state === 'complete' ? [entry.backup] : []));
      const bytes = complete.reduce((sum, { storedSize }) => sum + storedSize, 0);
      const others = backups.length - complete.length;
      return [
        systems.length === 1 ? 'holds' : `system ${systemId}`,
        markup`<p>${count(complete.length, 'backup')}, ${formatBytes(bytes)} as stored${others > 0 && `; ${others} more not complete`}</p><p>${count(wal.segments, 'whole segment')} on ${count(wal.timelines.length, 'timeline')}, ${formatBytes(wal.segments * wal.segmentSize)} of WAL before compression</p>`,
      ];
    }),
    ...(systems.length === 0 ? [['holds', 'nothing yet'] as const] : []),
    ['listed', momentAgo(listed, now)],
    ...(since === listed ? [] : [['older WAL', markup`listed ${momentAgo(since, now)}`] as const]),
  ];
}

/** Checks that are shown. */
const SHOWN = 5;

function checksTable(cluster: string, checks: readonly Run[] | undefined, now: number): Markup {
  if (checks === undefined) return markup`<p class="empty">Unknown: what is on record was not read.</p>`;
  return table(checks.slice(0, SHOWN), {
    name: 'Checks',
    empty: 'No check is on record: “schedule” of the config can plan one.',
    columns: [
      {
        title: 'When',
        value: ({ id, started }) =>
          markup`<a href="${clusterPath(cluster, 'runs', id)}">${momentAgo(started, now)}</a>`,
      },
      { title: 'State', value: ({ state }) => runBadge(state) },
      { title: 'Found', value: resultOf },
    ],
  });
}
