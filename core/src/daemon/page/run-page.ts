/** One run: what it came to, and its log as far as this process has it. */
import type { ActiveRun, Run, RunLine } from '../../schedule/run.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { notices } from './notices.ts';
import { cancelForm, progressOf, runBadge, tookOf, whyOf } from './runs-page.ts';
import { live, shell } from './shell.ts';
import { facts } from './table.ts';
import { isOperator, type ClusterViewing } from './viewing.ts';
import { moment, momentAgo } from './words.ts';

export function runPage(viewing: ClusterViewing, run: Run): string {
  const { cluster, now } = viewing;
  const { scheduler, name } = cluster;
  const { id } = run;
  const active = scheduler.running().find((one) => one.id === id);
  const body = markup`${live('notices', notices(viewing))}<h1>Run <span class="mono">${id}</span></h1>
<section class="sheet" aria-labelledby="about"><h2 id="about">${run.job}</h2>${live('run', markup`${facts(linesOf(run, active, now))}${active !== undefined && isOperator(viewing) && cancelForm(name, id)}`)}</section>
<section class="sheet" aria-labelledby="log"><h2 id="log">Log</h2>${live('log', logOf(scheduler.log(id)))}</section>`;
  // Of what has ended elsewhere, or long ago, nothing changes any more; it may be read from the archive each time.
  const isStill = run.ended !== undefined && scheduler.log(id) === undefined;
  return shell(viewing, { title: `Run ${id}`, cluster: name, tab: 'runs', isStill, body });
}

function linesOf(run: Run, active: ActiveRun | undefined, now: number): readonly (readonly [string, Child])[] {
  const { kind, state, planned, started, ended, host, summary, error, result } = run;
  return [
    ['state', runBadge(state)],
    ...(active === undefined ? [] : [['progress', progressOf(active)] as const]),
    ['does', kind],
    ['why', whyOf(run)],
    ['due', moment(planned)],
    ['began', momentAgo(started, now)],
    ...(ended === undefined ? [] : [['ended', markup`${momentAgo(ended, now)}, after ${tookOf(run)}`] as const]),
    ['host', host],
    ...(summary === undefined ? [] : [['came to', summary] as const]),
    ...(error === undefined
      ? []
      : [
          [
            'failed',
            markup`${error.message} <span class="quiet">(${error.code})</span>${error.hint !== undefined && markup`<span class="under quiet">${error.hint}</span>`}`,
          ] as const,
        ]),
    ...(result === undefined
      ? []
      : [
          [
            'result',
            markup`<details id="result"><summary>as data</summary><pre class="plan" tabindex="0" role="region" aria-label="Result as data">${JSON.stringify(result, undefined, 2)}</pre></details>`,
          ] as const,
        ]),
  ];
}

/** Lines that are shown, the last of them. */
const LINES = 500;

function logOf(lines: readonly RunLine[] | undefined): Markup {
  if (lines === undefined)
    return markup`<p class="empty">This process has no log of it: it ran elsewhere, or long ago. It is in the log of the daemon that ran it.</p>`;
  if (lines.length === 0) return markup`<p class="empty">It has said nothing yet.</p>`;
  const shown = lines.slice(-LINES);
  return markup`${shown.length < lines.length && markup`<p class="quiet small">${lines.length - shown.length} lines before are not shown.</p>`}<ol class="log">${shown.map(
    ({ time, level, message }) =>
      markup`<li class="${level}"><time datetime="${new Date(time).toISOString()}">${new Date(time).toISOString().slice(11, 19)}</time><span>${(level === 'warn' || level === 'error') && markup`<b>${level}</b> `}${message}</span></li>`,
  )}</ol>`;
}
