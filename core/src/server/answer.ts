/** What is answered when it is not a file. */
import type { ServerResponse } from 'node:http';
import type { ArchiveError, ErrorCode } from '../contracts/errors.ts';

/**
 * What asking again does not heal. All else is "could not look", also a hole: segments are shipped several at once, so that a later one may
 * be there a moment before.
 */
const CONTRADICTIONS: ReadonlySet<ErrorCode> = new Set(['WAL_CONFLICT', 'SYSTEM_MISMATCH']);

/** Seconds after which a client that was told 503 should come again. */
const RETRY_AFTER = 2;

/** Answers are never kept by anyone on the way: a segment that is missing now is there a moment later. */
export const HEADERS: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
};

/** Answers with one line of text. `close` ends the connection: what else came on it is not to be trusted. */
export function answer(
  response: ServerResponse,
  status: number,
  line: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly close?: boolean } = {},
): void {
  const body = Buffer.from(`${line}\n`);
  response.writeHead(status, {
    ...HEADERS,
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.byteLength,
    ...options.headers,
    ...(options.close === true ? { Connection: 'close' } : {}),
  });
  response.end(body); // Node sends no body to HEAD
}

/** Answers that it could not be found out, with the code for the client. Never 404. */
export function answerFailure(response: ServerResponse, error: ArchiveError): void {
  const status = CONTRADICTIONS.has(error.code) ? 409 : 503;
  const headers = status === 503 ? { 'Retry-After': String(RETRY_AFTER) } : {};
  answer(response, status, `pgark: ${error.code}: ${error.message.replaceAll(/[^\x20-\x7e]+/g, ' ')}`, { headers });
}
