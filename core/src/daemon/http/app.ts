/** Everything that is answered, in one place: what is open, what is behind the credentials, and in which order it is checked. */
import type { HttpBindings } from '@hono/node-server';
import { Hono, type Context } from 'hono';
import type { Logger } from '../../contracts/plugin.ts';
import type { Daemon } from '../daemon.ts';
import { failureAnswer, isLeave, jsonAnswer, notFound, refusalAnswer, SECURITY_HEADERS } from './answers.ts';
import type { HttpEnv } from './caller.ts';
import type { Gatekeeper } from './gatekeeper.ts';
import { liveness, readiness, type Health } from './health.ts';
import { readFields } from './read-body.ts';
import { isRefusal, refusal, type Refusal } from './refusal.ts';
import type { Route, RouteTools } from './route.ts';
import { API, ROUTES } from './routes/index.ts';
import { runRoute } from './run-route.ts';
import { SharedMetrics } from './shared-metrics.ts';
import { Slots } from './slots.ts';

/** The page of the daemon, as it is mounted here. */
export interface MountedPage {
  /** Behind the credentials, at `/`. */
  readonly routes: Hono<HttpEnv>;
  /** What a browser is shown that has no session: HTML. */
  readonly login: (options: { readonly problem?: string; readonly next?: string }) => string;
  /** At `/assets`, for everybody. */
  readonly assets: Hono;
}

/** Where `/metrics` comes from. */
export interface MetricsSource {
  readonly contentType: string;
  text(): Promise<string>;
}

export interface AppOptions {
  readonly daemon: Daemon;
  readonly gatekeeper: Gatekeeper;
  readonly tools: RouteTools;
  readonly logger: Logger;
  readonly page?: MountedPage;
  readonly metrics?: MetricsSource;
}

/** Requests that are worked on at once. */
const MOST_REQUESTS = 64;

interface AppEnv {
  readonly Bindings: HttpBindings;
  readonly Variables: HttpEnv['Variables'];
}
type At = Context<AppEnv>;

export function httpApp(options: AppOptions): Hono<AppEnv> {
  const { daemon, gatekeeper, tools, logger, page, metrics } = options;
  const app = new Hono<AppEnv>();

  app.use(async (at, next) => {
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) at.res.headers.set(name, value);
    if (!at.res.headers.has('Cache-Control')) at.res.headers.set('Cache-Control', 'no-store');
  });
  app.onError((error, at) => {
    if (isLeave(error, at.req.raw.signal)) logger.debug({ error }, 'a client left');
    else logger.error({ error }, 'a request has failed');
    return failureAnswer(error);
  });

  app.get('/livez', () => healthAnswer(liveness(daemon)));
  app.get('/readyz', () => healthAnswer(readiness(daemon)));
  const slots = new Slots(MOST_REQUESTS);
  const shared = metrics && new SharedMetrics(metrics);
  const measure = async (): Promise<Response> =>
    new Response(await shared?.text(), { headers: { 'Content-Type': shared?.contentType ?? 'text/plain' } });
  if (shared !== undefined && daemon.config.openMetrics) app.get('/metrics', measure);
  if (page !== undefined) app.route('/', page.assets as unknown as Hono<AppEnv>);

  app.get('/login', (at) => (page === undefined ? missing(at) : at.html(page.login(nextOf(at.req.query('next'))))));
  app.post('/login', (at) => login(at, options));

  // From here on nobody is answered without credentials.
  app.use(async (at, next) => {
    const { incoming } = at.env;
    const isPage = !isProgram(at);
    const foreign = gatekeeper.checkOrigin(incoming, { isPage, byBrowser: false });
    if (foreign !== undefined) return refusalAnswer(foreign);
    const admitted = await gatekeeper.admit(incoming, at.req.raw.signal);
    if (isRefusal(admitted)) return refused(at, admitted, page);
    // Programs show certificates too; but what the API takes no form sends, and what the page takes one does.
    const byBrowser = admitted.by === 'session' || (isPage && admitted.by === 'certificate');
    const silent = gatekeeper.checkOrigin(incoming, { isPage, byBrowser });
    if (silent !== undefined) return refusalAnswer(silent);
    at.set('caller', admitted.caller);
    at.set('recent', tools.recent);
    at.set('heavy', tools.heavy);
    return next();
  });

  app.post('/logout', (at) => {
    const cookie = gatekeeper.logout(at.env.incoming);
    if (page === undefined) return jsonAnswer(200, { loggedOut: true }, { 'Set-Cookie': cookie });
    return new Response(null, { status: 303, headers: { Location: '/login', 'Set-Cookie': cookie } });
  });
  if (shared !== undefined && !daemon.config.openMetrics) app.get('/metrics', measure);
  for (const [path, rows] of byPath(ROUTES)) {
    for (const row of rows)
      app.on(row.method, path, (at) =>
        runRoute(
          row,
          { request: at.req.raw, params: at.req.param(), caller: at.get('caller') },
          { tools, logger, slots },
        ),
      );
    app.all(path, (at) => wrongMethod(at, rows));
  }
  app.all(`${API}/*`, missing);
  if (page === undefined) app.all('*', missing);
  else app.route('/', page.routes as unknown as Hono<AppEnv>);
  app.notFound(missing);
  return app;
}

function healthAnswer({ healthy, reasons }: Health): Response {
  return jsonAnswer(healthy ? 200 : 503, { status: healthy ? 'ok' : 'failed', reasons });
}

function missing(at: At): Response {
  return refusalAnswer(notFound(at.req.path));
}

function wrongMethod(at: At, rows: readonly Route[]): Response {
  const allowed = rows.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  return refusalAnswer(refusal('REQUEST_METHOD', `${at.req.method} is not answered here`), {
    Allow: allowed.join(', '),
  });
}

/** `/clusters/{cluster}` as `/api/v1/clusters/:cluster`, with the rows that are about it. */
function byPath(routes: readonly Route[]): ReadonlyMap<string, readonly Route[]> {
  const found = new Map<string, Route[]>();
  for (const row of routes) {
    const path = (API + row.path).replaceAll(/\{(\w+)\}/g, ':$1').replace(/\/$/, '');
    found.set(path, [...(found.get(path) ?? []), row]);
  }
  return found;
}

/** Whether a request is for programs: the API, and the metrics. */
function isProgram({ req }: At): boolean {
  return req.path === API || req.path.startsWith(`${API}/`) || req.path === '/metrics';
}

/** A browser without a session is asked for a token; everybody else is told in JSON. */
function refused(at: At, why: Refusal, page: MountedPage | undefined): Response {
  const isBrowser = /\btext\/html\b/.test(at.req.header('Accept') ?? '');
  if (page === undefined || isProgram(at) || !isBrowser || at.req.method === 'POST') return refusalAnswer(why);
  const { pathname, search } = new URL(at.req.url);
  return htmlAnswer(why.status, page.login(nextOf(pathname + search)));
}

async function login(at: At, { gatekeeper, page, logger }: AppOptions): Promise<Response> {
  const { incoming } = at.env;
  const foreign = gatekeeper.checkOrigin(incoming, { isPage: true, byBrowser: false });
  if (foreign !== undefined) return refusalAnswer(foreign);
  const isForm = (at.req.header('Content-Type') ?? '').startsWith('application/x-www-form-urlencoded');
  const fields = await readFields(at.req.raw);
  if (isRefusal(fields)) return refusalAnswer(fields);
  const next = nextOf(fields.get('next'));
  const outcome = await gatekeeper.login(fields.get('token')?.trim() ?? '', incoming, at.req.raw.signal);
  if (isRefusal(outcome)) {
    if (page === undefined || !isForm) return refusalAnswer(outcome);
    const problem =
      outcome.code === 'REQUEST_TOO_MANY'
        ? 'Too many wrong tokens: wait a moment.'
        : 'This token is none of this daemon.';
    return htmlAnswer(outcome.status, page.login({ ...next, problem }));
  }
  const { cookie, caller } = outcome;
  logger.info({ caller: caller.name, role: caller.role, from: incoming.socket.remoteAddress }, 'a session begins');
  if (isForm && page !== undefined)
    return new Response(null, { status: 303, headers: { Location: next.next ?? '/', 'Set-Cookie': cookie } });
  return jsonAnswer(200, { name: caller.name, role: caller.role }, { 'Set-Cookie': cookie });
}

function htmlAnswer(status: number, html: string): Response {
  return new Response(html, {
    status,
    headers: { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' },
  });
}

/** Where to go on: a path of this daemon, and nowhere else. */
function nextOf(text: string | undefined): { readonly next?: string } {
  if (text === undefined || !/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,2000}$/.test(text)) return {};
  return /^\/(?:login|logout)(?:[/?#]|$)/.test(text) ? {} : { next: text };
}
