/** All clusters: one line of truth of each, and what the other daemons say of theirs. */
import { canRestoreTo } from '../../documents/status-document.ts';
import { formatBytes } from '../../documents/format.ts';
import type { DaemonCluster } from '../daemon.ts';
import { levelBadge } from './badge.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { isStale, notices } from './notices.ts';
import type { PeerState } from './peers.ts';
import { clusterPath, live, shell } from './shell.ts';
import { facts } from './table.ts';
import type { Viewing } from './viewing.ts';
import { ago } from './words.ts';

export function overviewPage(viewing: Viewing, peers: readonly PeerState[]): string {
  const clusters = [...viewing.daemon.clusters.values()];
  const title = 'Clusters';
  const body = markup`<h1>${title}</h1>
${live('clusters', markup`${clusters.length === 0 && markup`<p class="empty">The config names no cluster.</p>`}${clusters.map((cluster) => cardOf(cluster, viewing))}`)}
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
  const { daemon, now } = viewing;
  const look = cluster.latest();
  const done = look?.status;
  // What was seen too long ago says nothing of now.
  const level = isStale(look, daemon.config.refresh, now) ? undefined : done?.judgement.level;
  return markup`<section class="sheet card" aria-labelledby="cluster-${cluster.name}"><div class="head"><h2 id="cluster-${cluster.name}"><a href="${clusterPath(cluster.name)}">${cluster.name}</a></h2>${levelBadge(level)}</div>
<p class="truth">${done === undefined ? `${cluster.name}: unknown` : canRestoreTo(done.status)}</p>
${reasons(done?.judgement.reasons ?? [])}${notices({ ...viewing, cluster })}
${done !== undefined && facts(figures(cluster, now))}</section>`;
}

export function reasons(texts: readonly string[]): Markup | undefined {
  if (texts.length === 0) return undefined;
  return markup`<ul class="reasons" aria-label="Why">${texts.map((text) => markup`<li>${text}</li>`)}</ul>`;
}

function figures(cluster: DaemonCluster, now: number): readonly (readonly [string, Child])[] {
  const look = cluster.latest();
  if (look?.status === undefined) return [];
  const { lastBackup, lag, system } = look.status.status;
  const drill = system?.drills.find(({ data }) => data['outcome'] === 'proven');
  const running = cluster.scheduler.running();
  return [
    ['newest good backup', lastBackup === undefined ? 'none' : ago(lastBackup.backup.backup.stopTime, now)],
    ['not archived yet', lag.bytes === undefined ? 'unknown' : lag.bytes === 0 ? 'nothing' : formatBytes(lag.bytes)],
    ['proven by a drill', drill === undefined ? 'never' : ago(drill.time, now)],
    ...(running.length === 0 ? [] : [['runs now', running.map(({ kind }) => kind).join(', ')] as const]),
    ['looked at', ago(look.ended, now)],
  ];
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
