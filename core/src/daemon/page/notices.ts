/** What a reader must know before the rest: what is shown is old, or not all of it could be looked at. */
import type { ArchiveError } from '../../contracts/errors.ts';
import type { DaemonCluster, Look, PartReport } from '../daemon.ts';
import { markup, type Markup } from './markup.ts';
import type { ClusterViewing } from './viewing.ts';
import { ago, momentAgo } from './words.ts';

/** Looks that may be missed before what is shown is called old, and the least time for it, in milliseconds. */
const MISSED = 3;
const LEAST = 10_000;

/** Whether what is known of a cluster is too old to be taken for what is. */
export function isStale(look: Look | undefined, refresh: number, now: number): boolean {
  return look !== undefined && now - look.ended > Math.max(LEAST, MISSED * refresh);
}

export function notices({ cluster, daemon, now }: ClusterViewing): Markup {
  const look = cluster.latest();
  const stale = isStale(look, daemon.config.refresh, now);
  return markup`${look === undefined && markup`<div class="banner" role="status"><p>Nothing is known yet: the daemon has not looked at this cluster.</p></div>`}
${look !== undefined && stale && markup`<div class="banner bad" role="status"><p><strong>STALE</strong>: the last look ended ${ago(look.ended, now)}. What is shown here may not hold any more.</p></div>`}
${look !== undefined && look.failures.length > 0 && failuresOf(look, now)}
${failedParts(cluster).map((part) => partNotice(part, now))}`;
}

function failuresOf({ failures, ended }: Look, now: number): Markup {
  const seen = new Set<string>();
  const different = failures.filter(({ message }) => !seen.has(message) && seen.add(message));
  return markup`<div class="banner warn" role="status"><p>Not everything could be looked at ${ago(ended, now)}; what depends on it is unknown:</p>
<ul>${different.map((failure) => markup`<li>${errorText(failure)}</li>`)}</ul></div>`;
}

export function errorText({ message, hint, code }: Pick<ArchiveError, 'message' | 'hint' | 'code'>): Markup {
  return markup`${message} <span class="quiet">(${code})</span>${hint !== undefined && markup`. <span class="quiet">${hint}</span>`}`;
}

function failedParts(cluster: DaemonCluster): readonly PartReport[] {
  return cluster.parts().filter(({ state }) => state === 'failed');
}

function partNotice({ name, error, since, nextTry, restarts }: PartReport, now: number): Markup {
  const tries = restarts === 0 ? '' : `; begun anew ${restarts} times`;
  return markup`<div class="banner bad" role="status"><p>The ${name} does not run since ${momentAgo(since, now)}${tries}. ${nextTry !== undefined && markup`It is tried again ${nextTry > now ? `in ${Math.ceil((nextTry - now) / 1000)} s` : 'now'}.`}</p>${error !== undefined && markup`<p>${errorText(error)}</p>`}</div>`;
}
