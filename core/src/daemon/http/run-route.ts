/** Carries out one row of the table: parts of the request are checked, the work done, its outcome answered. */
import type * as z from 'zod';
import type { Logger } from '../../contracts/plugin.ts';
import { isArchiveError } from '../../contracts/errors.ts';
import { failureAnswer, isLeave, jsonAnswer, refusalAnswer } from './answers.ts';
import type { Caller } from './caller.ts';
import { readJson } from './read-body.ts';
import { isRefusal, refusal, type Refusal } from './refusal.ts';
import type { Route, RouteTools } from './route.ts';
import type { Slots } from './slots.ts';

/** Milliseconds for the work of one request. */
const WORK_LIMIT = 120_000;

export interface RouteRequest {
  readonly request: Request;
  /** Decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly caller: Caller;
}

export async function runRoute(
  row: Route,
  { request, params, caller }: RouteRequest,
  { tools, logger, slots }: { readonly tools: RouteTools; readonly logger: Logger; readonly slots: Slots },
): Promise<Response> {
  if (row.role === 'operator' && caller.role !== 'operator')
    return refusalAnswer(refusal('REQUEST_FORBIDDEN', `${caller.name} may look, and not act`));
  try {
    const parts = await readParts(row, request, params);
    if (isRefusal(parts)) return refusalAnswer(parts);
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(WORK_LIMIT)]);
    const call = { ...tools, ...parts, caller, signal };
    const done = await slots.run(async () => ({ outcome: await row.handle(call) }));
    if (done === undefined) return refusalAnswer(refusal('DAEMON_BUSY', 'too many requests are under way'));
    const { outcome } = done;
    if (isRefusal(outcome)) return refusalAnswer(outcome);
    return jsonAnswer(row.status, outcome);
  } catch (error) {
    const isFault = !isArchiveError(error) || error.code === 'INTERNAL';
    if (isFault && !isLeave(error, request.signal))
      logger.error({ error, route: `${row.method} ${row.path}` }, 'a request has failed');
    return failureAnswer(error);
  }
}

interface Parts {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

async function readParts(
  row: Route,
  request: Request,
  given: Readonly<Record<string, string>>,
): Promise<Parts | Refusal> {
  const params = check('path', row.params, given);
  if (isRefusal(params)) return params;
  const search = new URL(request.url).searchParams;
  const twice = [...search.keys()].find((key, at, keys) => keys.indexOf(key) !== at);
  if (twice !== undefined) return refusal('REQUEST_INVALID', `query: ${twice.slice(0, 50)} is given twice`);
  const query = check('query', row.query, Object.fromEntries(search));
  if (isRefusal(query)) return query;
  if (row.body === undefined) return { params: params.value, query: query.value, body: undefined };
  const json = await readJson(request);
  if (isRefusal(json)) return json;
  const body = check('body', row.body, json.result);
  return isRefusal(body) ? body : { params: params.value, query: query.value, body: body.value };
}

function check(what: string, schema: z.ZodType, value: unknown): { readonly value: unknown } | Refusal {
  const result = schema.safeParse(value);
  if (result.success) return { value: result.data };
  const [issue] = result.error.issues;
  const where = [what, ...(issue?.path ?? []).map(String)].join('.');
  return refusal('REQUEST_INVALID', `${where}: ${(issue?.message ?? 'is not valid').slice(0, 300)}`);
}
