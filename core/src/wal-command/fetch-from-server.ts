/** `restore_command` on a host that has no access to the storage: one WAL file from `pgark serve`. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { request as plainRequest, type IncomingMessage } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { ArchiveError, errnoOf, isArchiveError, throwIfAborted, type ErrorCode } from '../contracts/errors.ts';
import type { Secret } from '../contracts/secret.ts';
import { parseWalFileName, type WalFile } from '../postgres/wal-file.ts';
import { findControlFile } from './data-directory.ts';
import { isBeyond } from './fetch.ts';
import { place } from './place.ts';
import { tryAgain, type TryAgainOptions } from './try-again.ts';
import { takeTurn, type Turn } from './turn.ts';
import { missingText, parseServerUrl, TIMELINE_HEADER, walPath } from './wal-address.ts';

export interface ServerFetchOptions extends TryAgainOptions {
  /** What PostgreSQL asks for, `%f`. */
  readonly name: string;
  /** Where it wants it, `%p`. */
  readonly path: string;
  /** `https://archive:8732/v1/main` */
  readonly url: string;
  readonly token?: Secret;
  /** PEM texts; without `ca` the certificates that Node trusts. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** Whose WAL, decimal text. Default: that of the data directory. */
  readonly systemId?: string;
  /** The last segment to give, as in {@link import('./fetch.ts').WalFetchOptions}. */
  readonly until?: string;
  /** The timeline that the recovery follows to its end, as there. */
  readonly timeline?: number;
  /** Folders that may be the data directory, for its system identifier. */
  readonly dataDirectories: readonly string[];
  /** Milliseconds in which the server says nothing, before or between its bytes. Default: somewhat more than it takes for an answer. */
  readonly silence?: number;
}

export type ServerFetchResult =
  { readonly outcome: 'fetched'; readonly source: 'server' } | { readonly outcome: 'missing' };

const SILENCE = 330_000;
const CONNECT_LIMIT = 20_000;
/** The most bytes of an answer in words. */
const WORDS = 4096;

/** What a server found, in its own words, beside that it could not look. */
const FINDINGS: readonly ErrorCode[] = ['WAL_GAP', 'WAL_CONFLICT', 'SYSTEM_MISMATCH'];

/**
 * Puts a WAL file at `path`, whole and compared with its digest, or says that there is none: only if a pgark server said so, in its words and
 * with the name that was asked for. Errors: `WAL_SERVER_UNAVAILABLE`, `WAL_SERVER_DENIED`, what the server found (`WAL_GAP`, `WAL_CONFLICT`,
 * `SYSTEM_MISMATCH`), `WAL_INVALID`, `RESTORE_FAILED`, `USAGE`.
 */
export async function fetchFromServer(options: ServerFetchOptions): Promise<ServerFetchResult> {
  const file = parseWalFileName(options.name);
  if (file === undefined)
    throw new ArchiveError('USAGE', `not the name of a WAL file: "${options.name.slice(0, 100)}"`, {
      hint: 'Give the command %f and %p, in this order.',
    });
  const { url, cluster } = parseServerUrl(options.url);
  if (isBeyond(file, options.until)) return { outcome: 'missing' };
  const systemId = options.systemId ?? (await findControlFile(options.dataDirectories))?.systemId;
  if (systemId === undefined || !/^\d{1,20}$/.test(systemId))
    throw new ArchiveError('USAGE', 'cannot tell whose WAL is asked for', {
      hint: 'Run the command in the data directory, or name the cluster with --system-id.',
    });
  const target = new URL(url.href + walPath(systemId, file.name));
  const turn = takeTurn(options.path);
  try {
    return await tryAgain(options, async () => {
      const response = await ask(target, options);
      try {
        if (response.statusCode === 200) {
          await receive(response, file, systemId, { ...options, turn });
          return { outcome: 'fetched', source: 'server' };
        }
        const words = await wordsOf(response);
        if (response.statusCode === 404 && words === missingText(cluster, systemId, file.name))
          return { outcome: 'missing' };
        throw refusal(response.statusCode ?? 0, words, target);
      } finally {
        response.destroy();
      }
    });
  } finally {
    turn.end();
  }
}

/** Sends the request, and waits for the head of the answer. */
function ask(target: URL, options: ServerFetchOptions): Promise<IncomingMessage> {
  const { signal, token, timeline, tls = {}, silence = SILENCE } = options;
  throwIfAborted(signal, `fetching ${options.name}`);
  const settings = {
    agent: false as const,
    timeout: silence,
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token.reveal()}` }),
      ...(timeline === undefined ? {} : { [TIMELINE_HEADER]: String(timeline) }),
    },
    ...(signal === undefined ? {} : { signal }),
  };
  return new Promise((resolve, reject) => {
    const request =
      target.protocol === 'https:' ? tlsRequest(target, { ...settings, ...tls }) : plainRequest(target, settings);
    const connecting = setTimeout(() => request.destroy(new Error('no connection within 20 s')), CONNECT_LIMIT);
    const connected = (): void => clearTimeout(connecting);
    request.once('socket', (socket) =>
      socket.once(target.protocol === 'https:' ? 'secureConnect' : 'connect', connected),
    );
    request.once('close', connected);
    request.on('timeout', () => request.destroy(new Error(`the server said nothing for ${silence / 1000} s`)));
    request.on('error', (error) => reject(failure(error, target, signal)));
    request.once('response', resolve);
    request.end();
  });
}

/** Certificates that are not accepted, on either side: nothing that passes by waiting. */
const NOT_TRUSTED = /^(?:ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH)/;

function failure(error: unknown, { origin }: URL, signal: AbortSignal | undefined): ArchiveError {
  if (isArchiveError(error)) return error;
  if (signal?.aborted === true)
    return new ArchiveError('ABORTED', 'fetching from the server was cancelled', { cause: error });
  const errno = errnoOf(error);
  const why = error instanceof Error && error.message !== '' ? error.message : (errno ?? String(error));
  return NOT_TRUSTED.test(errno ?? '')
    ? new ArchiveError('WAL_SERVER_DENIED', `${origin}: ${why}`, { cause: error })
    : new ArchiveError('WAL_SERVER_UNAVAILABLE', `${origin}: ${why}`, { cause: error });
}

function refusal(status: number, words: string, { origin }: URL): ArchiveError {
  const said = `${origin} answered ${status}${words === '' ? '' : `: ${words}`}`;
  const code = FINDINGS.find((known) => [409, 503].includes(status) && words.startsWith(`pgark: ${known}: `));
  if (code !== undefined) return new ArchiveError(code, said);
  if (status === 404)
    return new ArchiveError('WAL_SERVER_UNAVAILABLE', `${said}, which is not how pgark serve says it`, {
      hint: 'Check the address: another web server, or a proxy, answers there.',
    });
  if (status >= 400 && status < 500 && status !== 408 && status !== 429)
    return new ArchiveError('WAL_SERVER_DENIED', said);
  return new ArchiveError('WAL_SERVER_UNAVAILABLE', said);
}

/** The first line of an answer, as far as it can be shown. */
async function wordsOf(response: IncomingMessage): Promise<string> {
  let text = '';
  try {
    for await (const chunk of response) {
      text += (chunk as Buffer).toString('latin1');
      if (text.length > WORDS) break;
    }
  } catch {
    return ''; // the status alone says that there is no file; only whole words say that none exists
  }
  if (!response.complete) return '';
  return (text.split('\n', 1)[0] ?? '').replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, 500);
}

async function receive(
  response: IncomingMessage,
  file: WalFile,
  systemId: string,
  options: ServerFetchOptions & { readonly turn: Turn },
): Promise<void> {
  const { headers } = response;
  const { url, signal } = options;
  const origin = new URL(url);
  const broken = (why: string): ArchiveError =>
    new ArchiveError('WAL_SERVER_UNAVAILABLE', `${origin.origin}: ${file.name} ${why}`);
  const length = /^\d{1,10}$/.exec(headers['content-length'] ?? '')?.[0];
  const digest = /^sha-256=:([A-Za-z0-9+/]{43}=):$/.exec(String(headers['repr-digest']))?.[1];
  if (length === undefined || digest === undefined)
    throw broken('came without a length or a digest, which is not how pgark serve sends it');
  await place(options, file, systemId, async (temporary) => {
    const hash = createHash('sha256');
    let size = 0;
    const handle = await open(temporary, 'wx', 0o600);
    try {
      for await (const chunk of chunksOf(response, (error) => failure(error, origin, signal))) {
        hash.update(chunk);
        size += chunk.byteLength;
        await handle.writeFile(chunk);
      }
    } finally {
      await handle.close();
    }
    if (size !== Number(length)) throw broken(`ended after ${size} of ${length} bytes`);
    if (hash.digest('base64') !== digest) throw broken('is not what its digest says');
  });
}

/** The body, whose failures are told from those of the disk. */
async function* chunksOf(
  response: IncomingMessage,
  failed: (error: unknown) => ArchiveError,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response) yield chunk as Buffer;
  } catch (error) {
    throw failed(error);
  }
}
