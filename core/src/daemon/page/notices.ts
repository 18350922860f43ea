/** What a reader must know before the rest: what is shown is old, or not all of it could be looked at. */
import type { ArchiveError } from '../../contracts/errors.ts';
import { formatDuration } from '../../documents/format.ts';
import type { DaemonCluster, Look, PartReport } from '../daemon.ts';
import { isStale } from '../http/look-document.ts';
import { markup, type Child, type Markup } from './markup.ts';
import type { ClusterViewing } from './viewing.ts';
import { ago, momentAgo } from './words.ts';

export function notices({ cluster, daemon, now }: ClusterViewing): Markup {
  const look = cluster.latest();
  const stale = look !== undefined && isStale(look, daemon, now);
  return markup`${look === undefined && markup`<div class="banner" role="status"><p>Nothing is known yet: the daemon has not looked at this cluster.</p></div>`}
${stale && markup`<div class="banner bad" role="status"><p><strong>STALE</strong>: the last look ended ${ago(look.ended, now)}. What is shown here may not hold any more.</p></div>`}
${look !== undefined && blindness(look, now)}
${failedParts(cluster).map((part) => partNotice(part, now))}`;
}

/** What could not be looked at. What the reasons of the status say already is not said twice. */
function blindness({ failures, status, backups, ended }: Look, now: number): Markup | undefined {
  const { receiver, server } = status?.status ?? {};
  const texts = new Map<string, Child>();
  const said = new Set(status?.status.map.failures.map(({ error }) => error.message));
  for (const error of [...failures, ...(backups?.failures ?? []).map((failure) => failure.error)])
    if (!said.has(error.message)) texts.set(error.message, errorText(error));
  if (server?.state === 'unknown') texts.set('server', `the server could not be asked: ${server.problem}`);
  if (receiver?.state === 'unreadable') texts.set('receiver', `the receiver could not be asked: ${receiver.problem}`);
  if (receiver?.state === 'stale')
    texts.set(
      'receiver',
      `the receiver says nothing: its last word is ${formatDuration(receiver.ageSeconds * 1000)} old`,
    );
  if (texts.size === 0) return undefined;
  return markup`<div class="banner warn" role="status"><p>Not everything could be looked at ${ago(ended, now)}; what depends on it is unknown:</p>
<ul>${[...texts.values()].map((text) => markup`<li>${text}</li>`)}</ul></div>`;
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
