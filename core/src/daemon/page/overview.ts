/** All clusters: one line of truth of each, and what the other daemons say of theirs. */
import { formatBytes } from '../../documents/format.ts';
import type { ArchiveError } from '../../contracts/errors.ts';
import type { DaemonCluster } from '../daemon.ts';
import { levelBadge } from './badge.ts';
import { markup, type Markup } from './markup.ts';
import { errorText, notices } from './notices.ts';
import type { PeerState } from './peers.ts';
import { clusterPath, live, shell } from './shell.ts';
import { judged, reasons, truth } from './truth.ts';
import type { Viewing } from './viewing.ts';
import { ago } from './words.ts';

export function overviewPage(viewing: Viewing, peers: readonly PeerState[]): string {
  const clusters = [...viewing.daemon.clusters.values()];
  const title = 'Clusters';
  const body = markup`<h1>${title}</h1>
${live('clusters', markup`${clusters.length + viewing.daemon.broken.size === 0 && markup`<p class="empty">The config names no cluster.</p>`}${clusters.map((cluster) => cardOf(cluster, viewing))}${[...viewing.daemon.broken].map(([name, error]) => brokenOf(name, error))}`)}
${
  peers.length > 0 &&
  live(
    'peers',
    peers.map((peer) => peerOf(peer, viewing.now)),
  )
}`;
  return shell(viewing, { title, body });
}

function cardOf(cluster: DaemonCluster, viewing: Viewing): Markup {
  const id = `cluster-${cluster.name}`;
  return markup`<section class="sheet card" aria-labelledby="${id}"><div><div class="head"><h2 id="${id}"><a href="${clusterPath(cluster.name)}">${cluster.name}</a></h2>${judged(cluster, viewing)}</div>
${truth(cluster)}</div>${notices({ ...viewing, cluster })}${figures(cluster, viewing.now)}</section>`;
}

/** One whose section of the config is not valid. */
function brokenOf(name: string, error: ArchiveError): Markup {
  return markup`<section class="sheet card" aria-labelledby="broken-${name}"><div class="head"><h2 id="broken-${name}">${name}</h2>${levelBadge(undefined)}</div>
<div class="banner bad"><p>Nothing is done for it: ${errorText(error)}</p></div></section>`;
}

function figures(cluster: DaemonCluster, now: number): Markup | undefined {
  const look = cluster.latest();
  if (look?.status === undefined) return undefined;
  const { lastBackup, lag, system } = look.status.status;
  const drill = system?.drills.find(({ data }) => data['outcome'] === 'proven');
  const running = cluster.scheduler.running();
  const shown: readonly (readonly [string, string])[] = [
    ['newest good backup', lastBackup === undefined ? 'none' : ago(lastBackup.backup.backup.stopTime, now)],
    ['not archived yet', lag.bytes === undefined ? 'unknown' : lag.bytes === 0 ? 'nothing' : formatBytes(lag.bytes)],
    ['proven by a drill', drill === undefined ? 'never' : ago(drill.time, now)],
    ...(running.length === 0 ? [] : [['runs now', running.map(({ kind }) => kind).join(', ')] as const]),
    ['looked at', ago(look.ended, now)],
  ];
  return markup`<dl class="figures">${shown.map(([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function peerOf(peer: PeerState, now: number): Markup {
  const { name, url, clusters, problem, answered } = peer;
  return markup`<section class="sheet" aria-labelledby="peer-${name}"><div class="bar"><h2 id="peer-${name}"><a href="${url}">${name}</a></h2><span class="quiet small">another daemon${answered !== undefined && `, asked ${ago(answered, now)}`}</span></div>
${problem !== undefined && markup`<div class="banner warn"><p>Unknown: ${problem}${answered !== undefined && `; its last answer came ${ago(answered, now)}`}.</p></div>`}
${clusters.map(
  ({ name: cluster, level, text, reasons: why }) =>
    markup`<div><div class="head"><h3>${cluster}</h3>${levelBadge(level)}</div><p class="truth">${text}</p>${reasons(why)}</div>`,
)}</section>`;
}
