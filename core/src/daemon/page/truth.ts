import { canRestoreTo } from '../../documents/status-document.ts';
import type { DaemonCluster } from '../daemon.ts';
import { levelBadge } from './badge.ts';
import { markup, type Markup } from './markup.ts';
import { isStale } from '../http/look-document.ts';
import type { Viewing } from './viewing.ts';
import { prose } from './words.ts';

/** Where the line that counts goes on with what says so. */
const EVIDENCE = ' (evidence: ';

/** The line that counts, as `pgark status` says it, and why it is not better. */
export function truth(cluster: DaemonCluster): Markup {
  const done = cluster.latest()?.status;
  if (done === undefined) return markup`<p class="truth">${cluster.name}: unknown</p>`;
  const text = canRestoreTo(done.status);
  const at = text.indexOf(EVIDENCE);
  const [claim, evidence] = at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
  return markup`<p class="truth">${prose(claim)}${evidence !== undefined && markup`<span class="evidence"> ${prose(evidence)}</span>`}</p>${reasons(done.judgement.reasons)}`;
}

export function reasons(texts: readonly string[]): Markup | undefined {
  if (texts.length === 0) return undefined;
  return markup`<ul class="reasons" aria-label="Why">${texts.map((text) => markup`<li>${prose(text)}</li>`)}</ul>`;
}

/** What it comes to. What was seen too long ago says nothing of now. */
export function judged(cluster: DaemonCluster, { daemon, now }: Pick<Viewing, 'daemon' | 'now'>): Markup {
  const look = cluster.latest();
  return levelBadge(look === undefined || isStale(look, daemon, now) ? undefined : look.status?.judgement.level);
}
