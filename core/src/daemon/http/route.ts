/** One row of the table that routes, their checks and the OpenAPI document are made from. */
import type * as z from 'zod';
import type { Role } from '../../config/config.ts';
import type { Daemon, DaemonCluster } from '../daemon.ts';
import type { Caller } from './caller.ts';
import { notFound } from './answers.ts';
import { isRefusal, type Refusal, type RefusalCode } from './refusal.ts';
import type { RecentRuns } from './recent-runs.ts';
import type { Turnstile } from './turnstile.ts';

/** What routes work with. */
export interface RouteTools {
  readonly daemon: Daemon;
  /** In front of what reads from server or storage for one request. */
  readonly heavy: Turnstile;
  readonly recent: RecentRuns;
  /** The document of all routes. */
  readonly openapi: () => unknown;
  /** Tells the log what somebody did. */
  readonly acted: (caller: Caller, what: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** A request whose parts are what the row says. */
export interface RouteCall<Params, Query, Body> extends RouteTools {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly caller: Caller;
  /** Fires when the client has left, and when it has taken too long. */
  readonly signal: AbortSignal;
}

type Shape = z.ZodObject;

interface Definition<Params extends Shape, Query extends Shape, Body extends Shape, Answer extends z.ZodType> {
  /** `GET` reads, `POST` acts. */
  readonly method: 'GET' | 'POST';
  /** Below `/api/v1`, with `{cluster}` for a parameter. */
  readonly path: string;
  readonly role: Role;
  /** One sentence without a full stop. */
  readonly summary: string;
  readonly description?: string;
  readonly params: Params;
  readonly query: Query;
  /** Of a `POST`. */
  readonly body?: Body;
  /** Of a good answer. Default 200. */
  readonly status?: 200 | 202;
  readonly answer: Answer;
  /** Codes, beside those that every route has, of refusals and errors. */
  readonly errors: readonly string[];
  /** Gives the document, or why there is none. Errors: those that it names, as they are. */
  readonly handle: (call: RouteCall<z.output<Params>, z.output<Query>, z.output<Body>>) => unknown;
}

/** A row whose types are not told any more. */
export interface Route extends Omit<Definition<Shape, Shape, Shape, z.ZodType>, 'handle'> {
  readonly status: 200 | 202;
  readonly handle: (call: RouteCall<unknown, unknown, unknown>) => Promise<unknown>;
}

export function route<Params extends Shape, Query extends Shape, Body extends Shape, Answer extends z.ZodType>(
  definition: Definition<Params, Query, Body, Answer>,
): Route {
  const { handle, status = 200 } = definition;
  return {
    ...definition,
    status,
    handle: async (call) => handle(call as RouteCall<z.output<Params>, z.output<Query>, z.output<Body>>),
  };
}

/** The cluster of a path. */
export function clusterOf({
  daemon,
  params,
}: RouteCall<{ readonly cluster: string }, unknown, unknown>): DaemonCluster | Refusal {
  return daemon.clusters.get(params.cluster) ?? notFound(`cluster "${params.cluster}" in this daemon`);
}

/** Does it with the cluster of a path, if there is one. */
export async function withCluster<Result>(
  call: RouteCall<{ readonly cluster: string }, unknown, unknown>,
  work: (cluster: DaemonCluster) => Promise<Result | Refusal> | Result | Refusal,
): Promise<Result | Refusal> {
  const cluster = clusterOf(call);
  return isRefusal(cluster) ? cluster : work(cluster);
}

/** Codes that every route may answer with. */
export const COMMON_ERRORS: readonly RefusalCode[] = [
  'REQUEST_INVALID',
  'REQUEST_UNAUTHENTICATED',
  'REQUEST_CROSS_SITE',
  'REQUEST_TOO_MANY',
  'DAEMON_BUSY',
];
