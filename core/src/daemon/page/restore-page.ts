/** Asking what a restore to a moment takes, and the answers: at once from what is known, or by a plan that reads the archive. */
import type { PlannedRestore } from '../../archive/restore.ts';
import type { ArchiveError } from '../../contracts/errors.ts';
import { count, formatBytes } from '../../documents/format.ts';
import { planLines } from '../../documents/plan-text.ts';
import { shellWord } from '../../restore/quoting.ts';
import { formatMoment } from '../../restore/time-text.ts';
import { isStale } from '../http/look-document.ts';
import { badge } from './badge.ts';
import { markup, type Markup } from './markup.ts';
import { momentOf, type MomentAnswer } from './moment.ts';
import { errorText, notices } from './notices.ts';
import { clusterPath, shell } from './shell.ts';
import type { ClusterViewing } from './viewing.ts';
import { ago, moment } from './words.ts';

/** Where a person has to say where. */
const DIRECTORY = '/path/to/new/data';

/** Asks for a plan; the same without a script. */
export function momentForm({ cluster: { name } }: Pick<ClusterViewing, 'cluster'>, value = ''): Markup {
  return markup`<form method="get" action="${clusterPath(name, 'restore')}" class="fields">
<label>Restore to <input class="moment-input" name="time" value="${value}" placeholder="2026-11-21 06:00:00Z" autocomplete="off" spellcheck="false" aria-describedby="moment-help"></label>
<button type="submit">Plan it</button></form>
<p id="moment-help" class="quiet small">A moment with its zone, such as 2026-11-21 06:00:00+02 or “5 minutes ago”; without one, all that the archive has. A plan only reads.</p>`;
}

/** The answer to pointing at a moment, without a document around it. */
export function momentFragment({ cluster, daemon, now }: ClusterViewing, time: number): string {
  const look = cluster.latest();
  const system = look?.status?.status.system;
  const old =
    look !== undefined &&
    isStale(look, daemon, now) &&
    markup`<p>By a look that is STALE: it ended ${ago(look.ended, now)}.</p>`;
  if (system === undefined)
    return markup`<p>${badge('dim', 'unknown')} What leads to ${moment(time)} is unknown.</p>`.toString();
  return markup`${old}${answerOf(cluster.name, momentOf(system, time), time)}`.toString();
}

function answerOf(name: string, answer: MomentAnswer, time: number): Markup {
  if (answer.kind === 'unknown')
    return markup`<p>${badge('dim', 'unknown')} Whether ${moment(time)} can be restored is unknown: ${answer.problem}.</p>`;
  if (answer.kind === 'unreachable') return unreachable(name, answer, time);
  const { backup, wal, timeline, isLatest } = answer;
  const { id, storedSize, dataSize, stopTime } = backup.backup;
  const command = restoreCommand(name, { time, timeline: isLatest ? undefined : timeline });
  return markup`<p>${badge('good', 'restorable')} ${moment(time)} from backup <a class="mono" href="${clusterPath(name, 'backups', id)}">${id}</a> of ${moment(stopTime)}, on timeline ${timeline}.</p>
<p class="quiet">It reads ${formatBytes(storedSize)} of the backup, ${formatBytes(dataSize)} as files, and ${walText(wal)} of WAL.</p>
${commandBox(command)}<p class="small"><a href="${planPath(name, time)}">Plan it exactly</a></p>`;
}

function walText({ least, most }: { readonly least: bigint; readonly most: bigint }): string {
  const [low, high] = [formatBytes(Number(least)), formatBytes(Number(most))];
  return low === high ? low : `${low} to ${high}`;
}

function unreachable(
  name: string,
  { before, after }: Extract<MomentAnswer, { readonly kind: 'unreachable' }>,
  time: number,
): Markup {
  if (before !== undefined && after === undefined)
    return markup`<p>${badge('dim', 'past the end')} The archive holds no transaction that ended after <a href="${planPath(name, before)}">${moment(before)}</a>: a restore to ${moment(time)} would not know that it has arrived.</p>
<p class="quiet">All that the archive has, to the end of its WAL:</p>${commandBox(restoreCommand(name, {}))}<p class="small"><a href="${clusterPath(name, 'restore')}">Plan it exactly</a></p>`;
  return markup`<p>${badge('bad', 'not restorable')} Nothing in the archive leads to ${moment(time)}.</p>
<ul>${before !== undefined && markup`<li>the last moment before it: <a href="${planPath(name, before)}">${moment(before)}</a></li>`}
${after !== undefined && markup`<li>the first moment behind it: <a href="${planPath(name, after)}">${moment(after)}</a></li>`}</ul>`;
}

function planPath(name: string, time: number): string {
  return `${clusterPath(name, 'restore')}?time=${encodeURIComponent(momentText(time))}`;
}

/** As the command line reads it; whole seconds without a fraction. */
function momentText(time: number): string {
  return formatMoment(BigInt(time) * 1000n);
}

function restoreCommand(
  name: string,
  { time, text, timeline }: { readonly time?: number; readonly text?: string; readonly timeline?: number | undefined },
): string {
  const target = time === undefined ? text : momentText(time);
  const words = [
    'pgark',
    'restore',
    '--cluster',
    name,
    ...(target === undefined ? [] : ['--target-time', target]),
    ...(timeline === undefined ? [] : ['--target-timeline', String(timeline)]),
    DIRECTORY,
  ];
  return words.map(shellWord).join(' ');
}

function commandBox(command: string): Markup {
  return markup`<div class="command"><code id="command">${command}</code><button type="button" data-copies="command" hidden>Copy</button></div>`;
}

/** A plan that was made, or why it was not. `asked`: the text of the form; empty for all that the archive has. */
export function planPage(
  viewing: ClusterViewing,
  asked: string,
  outcome: { readonly planned: PlannedRestore } | { readonly error: ArchiveError },
): string {
  const { cluster } = viewing;
  const { name } = cluster;
  const body = markup`${notices(viewing)}<h1>Restore plan</h1>
<section class="sheet" aria-label="Target">${momentForm(viewing, asked)}</section>
<section class="sheet" aria-labelledby="plan"><h2 id="plan">${asked === '' ? 'All that the archive has' : `Up to ${asked}`}</h2>
${'error' in outcome ? markup`<p>${badge('bad', 'no plan')} ${errorText(outcome.error)}</p>` : planned(name, asked, outcome.planned)}</section>`;
  return shell(viewing, { title: 'Restore plan', cluster: name, tab: '', body });
}

function planned(name: string, asked: string, { plan, settings }: PlannedRestore): Markup {
  const { problems, wal, backup, target } = plan;
  const micros = target.kind === 'time' ? target.micros : undefined;
  const text = micros === undefined ? undefined : formatMoment(micros);
  const command = restoreCommand(name, text === undefined ? {} : { text });
  if (problems.length > 0)
    return markup`<p>${badge('bad', 'cannot be reached')}</p><ul>${problems.map(({ message, hint }) => markup`<li>${message}. <span class="quiet">${hint}</span></li>`)}</ul>${planText({ plan, settings })}`;
  return markup`<p>${badge('good', 'can be reached')} from backup <a class="mono" href="${clusterPath(name, 'backups', backup.id)}">${backup.id}</a>, with ${count(wal.pieces.length, 'segment')} of WAL: ${formatBytes(wal.storedBytes)} in the archive.</p>
${commandBox(command)}${asked.endsWith('ago') && markup`<p class="quiet small">The command names the moment that was meant when this page was made.</p>`}${planText({ plan, settings })}`;
}

function planText({ plan, settings }: Pick<PlannedRestore, 'plan' | 'settings'>): Markup {
  return markup`<pre class="plan" tabindex="0" role="region" aria-label="The plan as the command prints it">${planLines(plan, settings).join('\n')}</pre>`;
}
