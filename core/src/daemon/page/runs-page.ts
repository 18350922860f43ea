/** What the scheduler does, has done and will do; for operators, what they can begin. */
import { count, formatBytes, formatDuration } from '../../documents/format.ts';
import type { ActiveRun, PlannedRun, Run, RunState, Scheduler } from '../../schedule/run.ts';
import type { RunPage } from '../http/run-list.ts';
import { badge, type Tone } from './badge.ts';
import { markup, type Child, type Markup } from './markup.ts';
import { errorText, notices } from './notices.ts';
import { clusterPath, live, shell } from './shell.ts';
import { table } from './table.ts';
import { isOperator, type ClusterViewing } from './viewing.ts';
import { ago, moment, momentAgo, momentOver } from './words.ts';

/** Runs in one history. */
export const HISTORY = 50;

/** `history`: the newest; undefined where the look has not seen what is on record. */
export function runsPage(viewing: ClusterViewing, history: RunPage | undefined, problem?: Child): string {
  const { cluster } = viewing;
  const { scheduler, name } = cluster;
  const body = markup`${live('notices', notices(viewing))}<h1>Runs</h1>
${problem !== undefined && markup`<div class="banner bad" role="alert"><p>${problem}</p></div>`}
${live('scheduler', schedulerNotice(scheduler, viewing.now))}
${isOperator(viewing) && startForms(name)}
<section class="sheet" aria-labelledby="running"><h2 id="running">Now</h2>${live('running', runningTable(viewing))}</section>
<section class="sheet" aria-labelledby="planned"><h2 id="planned">Planned</h2>${live('planned', plannedTable(scheduler.planned(), viewing.now))}</section>
<section class="sheet" aria-labelledby="history"><h2 id="history">History</h2>${live('history', historyTable(viewing, history))}</section>`;
  return shell(viewing, { title: 'Runs', cluster: name, tab: 'runs', body });
}

/** Runs behind one of them. It is read for the request, and so not again and again. */
export function olderRunsPage(viewing: ClusterViewing, history: RunPage): string {
  const { name } = viewing.cluster;
  const newest = markup`<a href="${clusterPath(name, 'runs')}">Newest</a>`;
  const body = markup`${notices(viewing)}<h1>Runs</h1>
<section class="sheet" aria-labelledby="history"><h2 id="history">Older history</h2>${historyTable(viewing, history, newest)}</section>`;
  return shell(viewing, { title: 'Runs', cluster: name, tab: 'runs', isStill: true, body });
}

function schedulerNotice({ state: { state, since, problem } }: Scheduler, now: number): Markup | undefined {
  if (state === 'running') return undefined;
  const why = problem === undefined ? '' : `: ${problem}`;
  return markup`<div class="banner warn" role="status"><p>${state === 'waiting' ? 'This daemon does not run the jobs' : 'The scheduler is stopped'} since ${momentAgo(since, now)}${why}.</p></div>`;
}

function startForms(cluster: string): Markup {
  const action = clusterPath(cluster, 'runs');
  return markup`<section class="sheet" aria-labelledby="begin"><h2 id="begin">Begin</h2><div class="begin">
<form method="post" action="${action}" class="fields"><input type="hidden" name="kind" value="backup"><label>Label, if any <input name="label" maxlength="900" autocomplete="off"></label><button class="first" type="submit">Back up now</button></form>
<form method="post" action="${action}" class="fields"><input type="hidden" name="kind" value="verify"><label>How thoroughly <select name="level"><option value="chain">chain: listings and records</option><option value="sample" selected>sample: some objects</option><option value="full">full: every byte</option></select></label><button type="submit">Verify</button></form>
<form method="post" action="${action}" class="fields"><input type="hidden" name="kind" value="drill"><span class="quiet small whole">Restores the newest backup on this host</span><button type="submit">Drill</button></form>
</div></section>`;
}

function runningTable(viewing: ClusterViewing): Markup {
  const { cluster, now } = viewing;
  const { name, scheduler } = cluster;
  return table(scheduler.running(), {
    name: 'Runs that go on',
    empty: 'Nothing runs.',
    columns: [
      { title: 'Run', value: (run) => runLink(name, run) },
      { title: 'Since', value: ({ started }) => ago(started, now) },
      { title: 'Progress', value: progressOf },
      isOperator(viewing) ? { title: 'Action', value: ({ id }) => cancelForm(name, id) } : undefined,
    ],
  });
}

export function cancelForm(cluster: string, id: string): Markup {
  return markup`<form method="post" action="${clusterPath(cluster, 'runs', id, 'cancel')}"><button class="danger" type="submit">Cancel<span class="unseen"> ${id}</span></button></form>`;
}

export function progressOf({ progress, kind }: ActiveRun): Markup {
  if (progress === undefined) return markup`<span class="quiet">not known yet</span>`;
  const { done, total, text } = progress;
  const bar =
    total === undefined || total <= 0
      ? undefined
      : markup`<progress max="${total}" value="${Math.min(done, total)}" aria-label="Progress of the ${kind}"></progress>`;
  return markup`${bar}<span class="under">${text}${total !== undefined && total > 0 && `, ${formatBytes(done)} of ${formatBytes(total)}`}</span>`;
}

function runLink(cluster: string, { id, job, kind }: Run): Markup {
  return markup`<a href="${clusterPath(cluster, 'runs', id)}">${job}</a>${job !== kind && markup`<span class="under">${kind}</span>`}`;
}

function plannedTable(planned: readonly PlannedRun[], now: number): Markup {
  return table(planned, {
    name: 'Planned runs',
    empty: 'The config has no schedule: nothing is done by itself but to receive.',
    columns: [
      {
        title: 'Job',
        value: ({ job }) => markup`${job.name}${job.name !== job.do && markup`<span class="under">${job.do}</span>`}`,
      },
      {
        title: 'When',
        value: ({ job }) =>
          markup`<span class="mono">${job.at}</span><span class="under">${job.timeZone}${job.jitter > 0 && `, up to ${formatDuration(job.jitter)} later`}</span>`,
      },
      {
        title: 'Next',
        value: ({ next }) =>
          next === undefined
            ? 'never again'
            : markup`${moment(next)}<span class="quiet">, ${next > now ? `in ${formatDuration(next - now)}` : 'due'}</span>`,
      },
    ],
  });
}

function historyTable({ cluster, now }: ClusterViewing, history: RunPage | undefined, newest?: Markup): Markup {
  if (history === undefined) return markup`<p class="empty">Unknown: what is on record was not read.</p>`;
  const { runs, more, failures } = history;
  const last = runs.at(-1);
  const older =
    more && last !== undefined && markup`<a href="?before=${encodeURIComponent(last.id)}" rel="next">Older</a>`;
  return markup`${failures.map((failure) => markup`<div class="banner warn" role="status"><p>There may be more runs: ${errorText(failure)}</p></div>`)}${table(
    runs,
    {
      name: 'Runs',
      empty: newest === undefined ? 'None is on record.' : 'No older one is on record.',
      columns: [
        { title: 'Run', value: (run) => runLink(cluster.name, run) },
        { title: 'State', value: ({ state }) => runBadge(state) },
        { title: 'Began', value: ({ started }) => momentOver(started, now) },
        { title: 'Took', value: (run) => tookOf(run), isNumber: true },
        { title: 'Why', value: whyOf },
        { title: 'Came to', value: resultOf },
      ],
    },
  )}${(newest !== undefined || older !== false) && markup`<nav aria-label="Pages of runs"><div class="pages">${newest}<span>${count(runs.length, 'run')}${more && ', older ones are on record'}</span>${older}</div></nav>`}`;
}

const TONES: Readonly<Record<RunState, Tone>> = {
  running: 'plain',
  succeeded: 'good',
  failed: 'bad',
  cancelled: 'dim',
  interrupted: 'warn',
  skipped: 'dim',
};

export function runBadge(state: RunState): Markup {
  return badge(TONES[state], state);
}

export function tookOf({ started, ended }: Run): string | undefined {
  return ended === undefined ? undefined : formatDuration(ended - started);
}

export function whyOf({ trigger, by }: Run): string {
  if (trigger === 'request') return by === undefined ? 'asked for' : `asked for by ${by}`;
  return trigger === 'catch-up' ? 'caught up' : 'schedule';
}

export function resultOf({ summary, error }: Run): Child {
  if (error === undefined) return summary;
  return markup`${summary !== undefined && summary !== error.message && markup`${summary}: `}${error.message} <span class="quiet">(${error.code})</span>`;
}
