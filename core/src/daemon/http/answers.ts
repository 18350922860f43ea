/** What every answer has in common. */
import type { ServerResponse } from 'node:http';
import { ArchiveError, errnoOf, isArchiveError } from '../../contracts/errors.ts';
import { compactJson } from '../../documents/json-text.ts';
import { statusOf } from './failure-status.ts';
import { refusal, type Refusal } from './refusal.ts';

/** Nothing from elsewhere is loaded, nobody frames it, and nobody on the way keeps it. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  // With `no-referrer` browsers would not say where a form was sent from.
  'Referrer-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
};

/** Methods that anything here answers to. */
export const METHODS: readonly string[] = ['GET', 'HEAD', 'POST'];

/** Seconds after which who was told 503 or 429 should come again. */
const RETRY_AFTER = '1';

type HeaderTexts = Readonly<Record<string, string>>;

export function jsonAnswer(status: number, document: unknown, headers: HeaderTexts = {}): Response {
  return new Response(compactJson(document), { status, headers: { ...headersOf(status), ...headers } });
}

function headersOf(status: number): HeaderTexts {
  return {
    'Content-Type': 'application/json; charset=utf-8',
    'Cache-Control': 'no-store',
    ...((status === 503 || status === 429) && { 'Retry-After': RETRY_AFTER }),
    ...(status === 401 && { 'WWW-Authenticate': 'Bearer realm="pgark"' }),
    ...(status === 405 && { Allow: METHODS.join(', ') }),
  };
}

export function refusalAnswer(refused: Refusal, headers: HeaderTexts = {}): Response {
  return jsonAnswer(refused.status, refusalDocument(refused), headers);
}

function refusalDocument({ code, message, hint }: Refusal): unknown {
  return { error: { code, message, hint } };
}

/** Refuses a request that no route has seen, and ends its connection: what else comes on it is not to be trusted. */
export function refuseEarly(response: ServerResponse, refused: Refusal): void {
  const body = Buffer.from(compactJson(refusalDocument(refused)));
  response.writeHead(refused.status, {
    ...SECURITY_HEADERS,
    ...headersOf(refused.status),
    'Content-Length': body.byteLength,
    Connection: 'close',
  });
  response.end(body); // Node sends no body to HEAD
}

/** A failure of the work. What is none of the archive's is told without its text, which nobody has looked at. */
export function failureAnswer(error: unknown): Response {
  const { code, message, hint } = isArchiveError(error) ? error : new ArchiveError('INTERNAL', 'unexpected failure');
  return jsonAnswer(statusOf(code), { error: { code, message, hint } });
}

/** A route, or anything else, that is not there. */
export function notFound(path: string): Refusal {
  return refusal('REQUEST_NOT_FOUND', `there is no ${path.slice(0, 200)}`);
}

/** What reading a body fails with when its sender is gone. */
const GONE: ReadonlySet<string | undefined> = new Set(['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']);

/** Whether a request came to its end because who asked has left: nobody reads the answer, and it must not fill the log. A fault is told in any case. */
export function isLeave(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  const isAbort = isArchiveError(error, 'ABORTED') || (error instanceof Error && error.name === 'AbortError');
  return isAbort || GONE.has(errnoOf(error));
}
