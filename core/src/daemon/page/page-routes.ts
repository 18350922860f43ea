/** The web page: which address shows what, and what may be begun. Mounted behind the credentials, which have set `caller`, `recent` and `heavy`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Hono, type Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { isArchiveError, type ArchiveError } from '../../contracts/errors.ts';
import type { Daemon } from '../daemon.ts';
import type { HttpEnv } from '../http/caller.ts';
import { statusOf } from '../http/failure-status.ts';
import { readFields } from '../http/read-body.ts';
import { isRefusal, type Refusal } from '../http/refusal.ts';
import { findRun, listRuns, type RunPage } from '../http/run-list.ts';
import { backupPage } from './backup-page.ts';
import { backupsPage } from './backups-page.ts';
import { clusterPage } from './cluster-page.ts';
import { eventsPage } from './events-page.ts';
import type { Child } from './markup.ts';
import { errorText } from './notices.ts';
import { overviewPage } from './overview.ts';
import { Peers } from './peers.ts';
import { problemPage } from './problem-page.ts';
import { repositoriesPage } from './repositories-page.ts';
import { momentFragment, planPage } from './restore-page.ts';
import { readRunForm } from './run-form.ts';
import { runPage } from './run-page.ts';
import { HISTORY, olderRunsPage, runsPage } from './runs-page.ts';
import { clusterPath } from './shell.ts';
import { streamPage } from './stream-page.ts';
import { ZOOMS, type Zoom } from './timeline.ts';
import { isOperator, type ClusterViewing, type Viewing } from './viewing.ts';
import { walPage } from './wal-page.ts';

export interface PageOptions {
  /** Where secrets of peers are looked up. Default: none. */
  readonly env?: NodeJS.ProcessEnv;
  /** Against which a relative path of a secret is resolved: the folder of the config. Default: the current one. */
  readonly directory?: string;
  /** Epoch milliseconds. Default: the clock of the host. */
  readonly now?: () => number;
}

/** Milliseconds for a plan: it reads the ends of the WAL, and who asked may be gone. */
const PLAN_TIME = 60_000;
/** Milliseconds for reading runs. */
const READ_TIME = 30_000;
/** Seconds after which a browser may come again. */
const RETRY_AFTER = '5';
/** Milliseconds that an answer waits for a run to end that was cancelled. */
const CANCEL_TIME = 3000;

/** The routes. Whoever mounts them has checked the credentials, and refuses requests of other sites that could change something. */
export function pageRoutes(daemon: Daemon, options: PageOptions = {}): Hono<HttpEnv> {
  const { env = {}, directory = process.cwd(), now = Date.now } = options;
  const routes = new Hono<HttpEnv>();
  const peers = new Peers({ config: () => daemon.config, env, directory });

  const viewingOf = (context: Context<HttpEnv>): Viewing => ({
    daemon,
    caller: context.get('caller'),
    recent: context.get('recent'),
    hasCookie: context.req.header('cookie') !== undefined,
    now: now(),
  });

  routes.get('/', async (context) => {
    const viewing = viewingOf(context);
    return context.html(overviewPage(viewing, await peers.states(viewing.now)));
  });

  /** A view of the cluster that the address names. `undefined`: there is no such thing. */
  const view = (
    path: string,
    show: (viewing: ClusterViewing, context: Context<HttpEnv>) => Promise<string | undefined> | string | undefined,
  ): void => {
    routes.get(path, async (context) => {
      const viewing = viewingOf(context);
      const cluster = clusterOf(context);
      const page = cluster && (await show({ ...viewing, cluster }, context));
      return page === undefined ? notFound(context) : context.html(page);
    });
  };
  const clusterOf = (context: Context<HttpEnv>): ClusterViewing['cluster'] | undefined =>
    daemon.clusters.get(context.req.param('name') ?? '');
  const notFound = (context: Context<HttpEnv>): Response =>
    context.html(problemPage(viewingOf(context), 'Not found', 'There is nothing at this address.'), 404);

  /** With the status that the API gives for it. */
  const failed = (context: Context<HttpEnv>, { code }: ArchiveError, shown: string): Response => {
    const status = statusOf(code) as ContentfulStatusCode;
    if (status === 503) context.header('retry-after', RETRY_AFTER);
    return context.html(shown, status);
  };
  const busy = (context: Context<HttpEnv>): Response => {
    context.header('retry-after', RETRY_AFTER);
    const problem = 'Others read the archive at this moment. Try again in a few seconds.';
    return context.html(problemPage(viewingOf(context), 'Busy', problem), 503);
  };

  view('/clusters/:name', (viewing, { req }) => clusterPage(viewing, zoomOf(req.query('zoom'))));
  view('/clusters/:name/stream', streamPage);
  view('/clusters/:name/backups', (viewing, { req }) => backupsPage(viewing, req.query('page')));
  view('/clusters/:name/backups/:id', (viewing, { req }) => backupPage(viewing, req.param('id') ?? ''));
  view('/clusters/:name/wal', (viewing, { req }) => walPage(viewing, req.query('page')));
  view('/clusters/:name/repositories', repositoriesPage);
  view('/clusters/:name/events', (viewing, { req }) => eventsPage(viewing, req.query('page')));
  view('/clusters/:name/moment', (viewing, { req }) => {
    const time = Date.parse(req.query('at') ?? '');
    return Number.isNaN(time) ? undefined : momentFragment(viewing, time);
  });

  /** One page of the history; the newest is in memory. */
  const historyOf = async (
    { cluster, recent }: ClusterViewing,
    context: Context<HttpEnv>,
    before?: string,
  ): Promise<RunPage | Refusal | undefined> => {
    if (cluster.latest()?.runs === undefined) return undefined;
    const tools = { recent, heavy: context.get('heavy'), signal: signalOf(context, READ_TIME) };
    return listRuns(cluster, { limit: HISTORY, before }, tools);
  };
  const runs = async (viewing: ClusterViewing, context: Context<HttpEnv>, problem?: Child): Promise<string> => {
    const history = await historyOf(viewing, context);
    return runsPage(viewing, isRefusal(history) ? undefined : history, problem);
  };
  /** What reads from the archive for this request. */
  const reading = (
    path: string,
    show: (viewing: ClusterViewing, context: Context<HttpEnv>) => Promise<string | Refusal>,
  ): void => {
    routes.get(path, async (context) => {
      const cluster = clusterOf(context);
      if (cluster === undefined) return notFound(context);
      const viewing = { ...viewingOf(context), cluster };
      try {
        const shown = await show(viewing, context);
        if (!isRefusal(shown)) return context.html(shown);
        return shown.code === 'DAEMON_BUSY' ? busy(context) : notFound(context);
      } catch (error) {
        if (!isArchiveError(error)) throw error;
        return failed(context, error, problemPage(viewing, 'Not read', error));
      }
    });
  };
  reading('/clusters/:name/runs', async (viewing, context) => {
    const before = context.req.query('before');
    if (before === undefined) return runs(viewing, context);
    const history = await historyOf(viewing, context, before.slice(0, 120));
    if (history === undefined) return runs(viewing, context);
    return isRefusal(history) ? history : olderRunsPage(viewing, history);
  });
  reading('/clusters/:name/runs/:id', async (viewing, context) => {
    const tools = { recent: viewing.recent, heavy: context.get('heavy'), signal: signalOf(context, READ_TIME) };
    const run = await findRun(viewing.cluster, (context.req.param('id') ?? '').slice(0, 120), tools);
    return isRefusal(run) ? run : runPage(viewing, run);
  });

  routes.get('/clusters/:name/restore', async (context) => {
    const cluster = clusterOf(context);
    if (cluster === undefined) return notFound(context);
    const viewing = { ...viewingOf(context), cluster };
    const asked = (context.req.query('time') ?? '').trim().slice(0, 200);
    const signal = signalOf(context, PLAN_TIME);
    try {
      const target = asked === '' ? {} : { target: { time: asked } };
      const planned = await context.get('heavy').run(signal, () => cluster.archive.planRestore({ ...target, signal }));
      return isRefusal(planned) ? busy(context) : context.html(planPage(viewing, asked, { planned }));
    } catch (error) {
      if (!isArchiveError(error)) throw error;
      return context.html(planPage(viewing, asked, { error }), error.code === 'USAGE' ? 400 : 200);
    }
  });

  /** What acts: for operators alone. */
  const act = (path: string, work: (viewing: ClusterViewing, context: Context<HttpEnv>) => Promise<Response>): void => {
    routes.post(path, async (context) => {
      const viewing = viewingOf(context);
      const cluster = clusterOf(context);
      if (cluster === undefined) return notFound(context);
      if (!isOperator(viewing)) {
        const problem = `${viewing.caller.name} may look, and not act: this needs a token whose role is operator.`;
        return context.html(problemPage(viewing, 'Not allowed', problem), 403);
      }
      try {
        return await work({ ...viewing, cluster }, context);
      } catch (error) {
        if (!isArchiveError(error)) throw error;
        return failed(context, error, await runs({ ...viewing, cluster }, context, errorText(error)));
      }
    });
  };

  act('/clusters/:name/runs', async (viewing, context) => {
    const { cluster, caller } = viewing;
    const fields = await readFields(context.req.raw);
    if (isRefusal(fields)) return context.html(await runs(viewing, context, fields.message), 400);
    const form = readRunForm(fields, caller.name);
    if ('problem' in form) return context.html(await runs(viewing, context, form.problem), 400);
    const { id } = await cluster.scheduler.start(form.request);
    return context.redirect(clusterPath(cluster.name, 'runs', id), 303);
  });
  act('/clusters/:name/runs/:id/cancel', async ({ cluster, caller }, context) => {
    const id = context.req.param('id') ?? '';
    const cancelled = cluster.scheduler.cancel(id, caller.name);
    cancelled.catch(() => undefined); // of one that ends later than the answer, the page of the run tells
    await Promise.race([cancelled, sleep(CANCEL_TIME, undefined, { ref: false })]);
    return context.redirect(clusterPath(cluster.name, 'runs', id), 303);
  });

  routes.notFound((context) => notFound(context));
  return routes;
}

function zoomOf(text: string | undefined): Zoom {
  return text !== undefined && Object.hasOwn(ZOOMS, text) ? (text as Zoom) : 'all';
}

/** Fires when who asked has left, and after so many milliseconds. */
function signalOf(context: Context<HttpEnv>, milliseconds: number): AbortSignal {
  return AbortSignal.any([context.req.raw.signal, AbortSignal.timeout(milliseconds)]);
}
