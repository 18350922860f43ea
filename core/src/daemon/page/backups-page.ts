/** The backups, the newest first, with what is on record of each. */
import type { ListedBackup } from '../../archive/list.ts';
import { storedSize } from '../../documents/backup-document.ts';
import { formatRatio } from '../../documents/backup-ratio.ts';
import { provenText } from '../../documents/drill-text.ts';
import { formatBytes, formatDuration } from '../../documents/format.ts';
import { pinText } from '../../documents/pin-text.ts';
import { verifiedText } from '../../documents/verified-text.ts';
import { describeGap } from '../../repository/wal-gaps.ts';
import { badge, type Tone } from './badge.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { notices } from './notices.ts';
import { clusterPath, live, shell } from './shell.ts';
import { pageLinks, pageOf, table } from './table.ts';
import type { ClusterViewing } from './viewing.ts';
import { ago, momentOver } from './words.ts';

export function backupsPage(viewing: ClusterViewing, wanted: string | undefined): string {
  const { cluster } = viewing;
  const body = markup`${live('notices', notices(viewing))}<h1>Backups</h1>
${live('backups', contentOf(viewing, wanted))}`;
  return shell(viewing, { title: 'Backups', cluster: cluster.name, tab: 'backups', body });
}

function contentOf({ cluster, now }: ClusterViewing, wanted: string | undefined): Markup {
  const { backups: list, listed } = cluster.latest() ?? {};
  if (list === undefined) return markup`<p class="empty">Unknown: the repositories were not read.</p>`;
  const { name } = cluster;
  // Ids begin with their time; copies of one stand beside each other.
  const all = list.backups.toSorted((one, other) => (one.id < other.id ? 1 : one.id > other.id ? -1 : 0));
  const page = pageOf(all, wanted);
  const several = new Set(all.map(({ repository }) => repository)).size > 1;
  const systems = new Set(all.map(({ systemId }) => systemId)).size > 1;
  return markup`${list.gaps.map((gap) => markup`<div class="banner bad"><p>WAL is lost from ${describeGap(gap)} (repository ${gap.repository}): backups from before it end there.</p></div>`)}
<section class="sheet" aria-label="Backups">${table(page.rows, {
    name: 'Backups',
    empty: 'There is no backup.',
    columns: [
      { title: 'Backup', value: (backup) => nameOf(name, backup) },
      several ? { title: 'Repository', value: ({ repository }) => repository } : undefined,
      systems ? { title: 'System', value: ({ systemId }) => systemId } : undefined,
      { title: 'State', value: stateOf },
      {
        title: 'Consistent',
        value: (backup) => backup.state === 'complete' && momentOver(backup.record.stopTime, now),
      },
      { title: 'Took', value: tookOf, isNumber: true },
      {
        title: 'Size',
        value: (backup) => backup.state === 'complete' && formatBytes(backup.record.dataSize),
        isNumber: true,
      },
      { title: 'Stored', value: storedOf, isNumber: true },
      { title: 'Verified', value: (backup) => verifiedMark(backup, now) },
      { title: 'Proven', value: (backup) => provenMark(backup, now) },
    ],
  })}${pageLinks(page, '?page=', 'backups')}${listed !== undefined && markup`<p class="quiet small">Listed ${ago(listed, now)}.</p>`}</section>`;
}

function nameOf(cluster: string, { id, pin, ...backup }: ListedBackup): Markup {
  const record = backup.state === 'complete' ? backup.record : undefined;
  return markup`<a class="mono id" href="${clusterPath(cluster, 'backups', id)}">${id}</a>${record !== undefined && markup`<span class="under">${record.kind}${record.label !== '' && `: ${record.label}`}</span>`}${pin !== undefined && markup`<span class="under">pinned: ${pinText(pin)}</span>`}`;
}

export function stateOf(backup: ListedBackup): Markup {
  if (backup.state === 'complete' && backup.record.suspect !== undefined) return badge('bad', 'SUSPECT');
  if (backup.state === 'complete' && backup.gaps.length > 0)
    return markup`${badge('good', 'complete')}<span class="under">ends at lost WAL</span>`;
  return badge(STATES[backup.state], backup.state);
}

const STATES: Readonly<Record<ListedBackup['state'], Tone>> = {
  complete: 'good',
  incomplete: 'dim',
  expired: 'dim',
  unreadable: 'bad',
};

function tookOf(backup: ListedBackup): Child {
  if (backup.state !== 'complete') return undefined;
  const { startTime, stopTime } = backup.record;
  return formatDuration(Date.parse(stopTime) - Date.parse(startTime));
}

function storedOf(backup: ListedBackup): Child {
  if (backup.state !== 'complete') return undefined;
  return markup`${formatBytes(storedSize(backup.record))}<span class="under">ratio ${formatRatio(backup.record)}</span>`;
}

/** What was never looked at is no green mark, and what is not known neither. */
export function verifiedMark({ verified }: Pick<ListedBackup, 'verified'>, now: number): Markup {
  const text = verifiedText(verified, now);
  if (verified === undefined || verified === 'unknown') return badge('dim', 'unknown');
  if (verified === 'never') return markup`<span class="quiet">never</span>`;
  return badge(verified.verdict === 'good' ? 'good' : verified.verdict === 'damaged' ? 'bad' : 'dim', text);
}

export function provenMark({ drill }: Pick<ListedBackup, 'drill'>, now: number): Markup {
  const text = provenText(drill, now);
  if (drill === undefined || text === undefined) return markup`<span class="quiet">never</span>`;
  if (drill === 'unknown') return badge('dim', 'unknown');
  return badge(drill.outcome === 'proven' ? 'good' : 'bad', text);
}
