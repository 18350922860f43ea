/** The WAL that is archived: runs of segments of each timeline, what lies between them, and what is not whole yet. */
import { toText } from '../../documents/map-document.ts';
import { contentProblems, evidenceOf } from '../../documents/map-text.ts';
import { count, formatBytes } from '../../documents/format.ts';
import type { MappedLine, SystemMap } from '../../map/recovery-map.ts';
import { describeWindowEnd, type MapWindow } from '../../map/windows.ts';
import { formatLsn } from '../../postgres/lsn.ts';
import { describeGap } from '../../repository/wal-gaps.ts';
import { badge } from './badge.ts';
import { markup, type Markup } from './markup.ts';
import { notices } from './notices.ts';
import { live, shell } from './shell.ts';
import { facts, pageLinks, pageOf, table } from './table.ts';
import type { ClusterViewing } from './viewing.ts';
import { walPicture } from './wal-picture.ts';
import { walRows, type WalRow } from './wal-rows.ts';
import { momentAgo } from './words.ts';

export function walPage(viewing: ClusterViewing, wanted: string | undefined): string {
  const { cluster } = viewing;
  const body = markup`${live('notices', notices(viewing))}<h1>WAL</h1>${live('wal', contentOf(viewing, wanted))}`;
  return shell(viewing, { title: 'WAL', cluster: cluster.name, tab: 'wal', body });
}

function contentOf({ cluster, now }: ClusterViewing, wanted: string | undefined): Markup {
  const status = cluster.latest()?.status?.status;
  if (status === undefined) return markup`<p class="empty">Unknown: the repositories were not read.</p>`;
  const { system, map, archived } = status;
  if (system === undefined)
    return markup`<p class="empty">${map.repositories.length === 0 ? 'Unknown: no repository could be read.' : 'No WAL of this server is archived.'}</p>`;
  const recorded = map.repositories
    .flatMap(({ state }) => state.systems)
    .filter(({ systemId }) => systemId === system.systemId)
    .flatMap((one) => one.facts);
  const page = pageOf(walRows(system, recorded), wanted);
  const problems = [
    ...contentProblems(system),
    ...system.gaps.map((gap) => `WAL was lost from ${describeGap(gap)} (repository ${gap.repository})`),
  ];
  const last =
    archived === undefined
      ? 'none'
      : markup`<span class="mono">${archived.segment}</span>, taken ${momentAgo(archived.time, now)}`;
  return markup`${problems.length > 0 && markup`<div class="banner bad"><ul>${problems.map((text) => markup`<li>${text}</li>`)}</ul></div>`}
<section class="sheet" aria-labelledby="coverage"><h2 id="coverage">By position</h2>${walPicture(system)}
${facts([
  ['segments', `${count(system.segments, 'whole segment')} of ${formatBytes(system.segmentSize)}`],
  ['last', last],
  ['system', system.systemId],
])}<p class="quiet small">${evidenceOf(system)}</p></section>
<section class="sheet" aria-labelledby="windows"><h2 id="windows">Where it leads</h2>${windowsTable(system)}</section>
<section class="sheet" aria-labelledby="runs"><h2 id="runs">Segments</h2>${table(page.rows, {
    name: 'Runs of segments',
    empty: 'No segment is archived.',
    columns: [
      { title: 'Timeline', value: ({ timeline }) => timeline },
      { title: 'What', value: whatOf },
      { title: 'From', value: ({ from }) => markup`<span class="mono">${from}</span>` },
      { title: 'To', value: ({ to }) => markup`<span class="mono">${to}</span>` },
      { title: 'Segments', value: ({ segments }) => segments, isNumber: true },
      { title: 'Size', value: ({ bytes }) => bytes !== undefined && formatBytes(bytes), isNumber: true },
    ],
  })}${pageLinks(page, '?page=', 'runs of segments')}</section>`;
}

function whatOf({ kind, text }: WalRow): Markup {
  const words = {
    run: badge('good', 'there'),
    hole: badge('bad', 'hole'),
    open: badge('plain', 'tail'),
    conflict: badge('bad', 'conflict'),
  };
  return markup`${words[kind]}${text !== undefined && markup`<span class="under">${text}</span>`}`;
}

/** A window, or a timeline without any. */
interface WindowRow {
  readonly line: MappedLine;
  readonly window: MapWindow | undefined;
}

function windowsTable({ lines, latest }: SystemMap): Markup {
  const rows = lines.toReversed().flatMap((line): readonly WindowRow[] => {
    const windows = line.windows.toReversed();
    return windows.length === 0 ? [{ line, window: undefined }] : windows.map((window) => ({ line, window }));
  });
  const shown = rows.slice(0, 50);
  return markup`${table(shown, {
    name: 'Windows',
    empty: 'Nothing can be restored.',
    columns: [
      { title: 'Timeline', value: ({ line }) => `${line.timeline}${line.timeline === latest ? ' (latest)' : ''}` },
      {
        title: 'Any moment from',
        value: ({ window }) =>
          window && markup`<time datetime="${window.from.time}">${formatFrom(window.from.time)}</time>`,
      },
      { title: 'To before', value: ({ window }) => window && toText(window) },
      {
        title: 'Positions',
        value: ({ window }) =>
          window &&
          markup`<span class="mono">${formatLsn(window.from.lsn)}</span> to <span class="mono">${formatLsn(window.to.lsn)}</span>`,
      },
      { title: 'Backups', value: ({ window }) => window?.backups.length, isNumber: true },
      {
        title: 'Ends',
        value: ({ line, window }) =>
          window === undefined
            ? (line.problem ??
              (line.historyMissing
                ? 'its history is not archived: backups of earlier timelines do not lead to it'
                : 'no backup leads to it'))
            : describeWindowEnd(window),
      },
    ],
  })}${rows.length > shown.length && markup`<p class="quiet small">${rows.length - shown.length} older windows are not shown; “pgark map” shows all.</p>`}`;
}

function formatFrom(time: string): string {
  return `${time.slice(0, 19).replace('T', ' ')}Z`;
}
