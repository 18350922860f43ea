/**
 * WAL over HTTP, for hosts that may not have the keys of the storage. With `node:http` alone: there are two routes, and the target of a
 * request is compared as it came, before anything that decodes or normalises it, as the routers of frameworks do.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { ServeConfig } from '../config/config.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { Secret } from '../contracts/secret.ts';
import { bind } from '../listen/bind.ts';
import { checkProtection, parseListenAddress } from '../listen/listen-address.ts';
import { Strangers } from '../listen/strangers.ts';
import { readTlsFiles } from '../listen/tls-files.ts';
import { checkToken } from '../listen/token.ts';
import type { Repository } from '../repository/repository.ts';
import { Line } from '../storage/line.ts';
import { withDeadline } from '../wal-command/deadline.ts';
import { parseTimelineNumber } from '../wal-command/timeline-number.ts';
import { missingText, parseWalTarget, TIMELINE_HEADER, WAL_TYPE, type WalAddress } from '../wal-command/wal-address.ts';
import { answer, answerFailure, HEADERS } from './answer.ts';
import { credentials } from './credentials.ts';
import { sendFile } from './send-file.ts';
import { verifiedFile, type VerifiedFile } from './verified-file.ts';

export interface WalServerOptions {
  /** The archive of the cluster, in the order of reading. */
  readonly repositories: readonly [Repository, ...Repository[]];
  /** `receive.spool`: what was received but not shipped yet. */
  readonly spool?: string;
  readonly config: ServeConfig;
  /** The value of `serve.token`. */
  readonly token?: Secret;
  readonly logger: Logger;
}

/** What is read anew when it has changed. */
export interface ReloadOptions {
  readonly token?: Secret;
}

export interface WalServer {
  /** `https://127.0.0.1:8732`, with the port that it really has. */
  readonly url: string;
  /** Reads certificates anew, and takes another token. Errors: `CONFIG_INVALID`; all stays as it was then. */
  reload(options: ReloadOptions): Promise<void>;
  /** Takes no more requests, and waits for those under way, at most so many milliseconds. Default 30 s. */
  close(grace?: number): Promise<void>;
}

/** Milliseconds until a request is answered; sending may take as long as it takes. Clients wait a little longer. */
export const ANSWER_LIMIT = 300_000;

/** Milliseconds that a client may take for a handshake, and for its request. */
const HANDSHAKE_LIMIT = 20_000;
const REQUEST_LIMIT = 30_000;
const IDLE_LIMIT = 60_000;
const GRACE = 30_000;
/** Connections at once that have not shown a credential. */
const MOST_STRANGERS = 100;
/** Milliseconds between two lines about requests without a credential. */
const REFUSAL_PAUSE = 10_000;

/**
 * Listens as `config` says. Errors: `CONFIG_INVALID` for an address that cannot be listened on, one that other hosts reach without TLS and
 * credentials, and certificates or a token that cannot be used.
 */
export async function serveWal(options: WalServerOptions): Promise<WalServer> {
  const { config, token, logger } = options;
  const address = parseListenAddress(config.listen, 'serve');
  const certificates = config.tls?.clientCa !== undefined;
  checkProtection(address, {
    section: 'serve',
    tls: config.tls !== undefined,
    credentials: token !== undefined || certificates,
  });
  const tls = config.tls === undefined ? undefined : await readTlsFiles(config.tls, 'serve');
  const work = new WalRequests(options);
  work.admit = credentials({
    certificates,
    ...(token === undefined ? {} : { token: checkToken(token, 'serve.token') }),
  });
  if (token === undefined && !certificates)
    logger.warn({}, 'every program of this host may read the WAL: set serve.token');

  const limits = { maxHeaderSize: 16_384, headersTimeout: HANDSHAKE_LIMIT, requestTimeout: REQUEST_LIMIT };
  const http = { ...limits, keepAliveTimeout: IDLE_LIMIT, connectionsCheckingInterval: 5000 };
  const server =
    tls === undefined
      ? createServer(http)
      : // Who has no certificate is told so in words; `credentials` looks whether there is one.
        createTlsServer({
          ...http,
          ...tls,
          handshakeTimeout: HANDSHAKE_LIMIT,
          requestCert: certificates,
          rejectUnauthorized: false,
        });
  const listener: RequestListener = (request, response) => void work.answer(request, response);
  for (const event of ['request', 'checkContinue', 'checkExpectation'] as const) server.on(event, listener);
  // A connection costs memory before it has shown a credential.
  server.on('connection', (socket) => work.strangers.take(socket));
  server.maxConnections = config.maxRequests * 4 + 2 * MOST_STRANGERS;
  server.timeout = 0; // it would cut a client that is slow: see sendFile
  const isProtected = tls !== undefined && (token !== undefined || certificates);
  const { name } = await bind(server, address, { section: 'serve', isProtected });
  server.on('error', (error) => logger.warn({ error }, 'a connection could not be taken'));

  return {
    url: `${tls === undefined ? 'http' : 'https'}://${name}`,
    reload: async (again) => {
      const fresh = config.tls === undefined ? undefined : await readTlsFiles(config.tls, 'serve');
      if ((again.token === undefined) !== (token === undefined))
        throw new ArchiveError('CONFIG_INVALID', 'whether there is a token is decided at the start');
      work.admit = credentials({
        certificates,
        ...(again.token === undefined ? {} : { token: checkToken(again.token, 'serve.token') }),
      });
      if (fresh !== undefined) (server as TlsServer).setSecureContext(fresh);
    },
    close: async (grace = GRACE) => {
      const closed = once(server, 'close');
      server.close();
      work.stop(() => server.closeIdleConnections());
      const end = setTimeout(() => {
        work.abort();
        server.closeAllConnections();
      }, grace);
      await closed;
      clearTimeout(end);
    },
  };
}

interface Asked extends WalAddress {
  /** The timeline that the client's recovery follows, if it said so. */
  readonly timeline: number | undefined;
}

/** Answers requests. */
class WalRequests {
  admit: (request: IncomingMessage) => boolean = () => false;
  readonly strangers: Strangers = new Strangers(MOST_STRANGERS);
  readonly #options: WalServerOptions;
  readonly #cluster: string;
  readonly #line: Line;
  readonly #end = new AbortController();
  /** Connections with a request that is being answered. */
  readonly #answering = new Set<Socket>();
  #stopped: (() => void) | undefined;
  /** Requests without a credential since it was last said, and when it may be said again. */
  #refusals = 0;
  #nextRefusal = 0;

  constructor(options: WalServerOptions) {
    this.#options = options;
    this.#cluster = options.repositories[0].cluster;
    this.#line = new Line(options.config.maxFetches, 'waiting for the storage');
  }

  /** From now on every request is told to come again, and `idle` is called when one has ended. */
  stop(idle: () => void): void {
    this.#stopped = idle;
  }

  /** Ends what is under way. */
  abort(): void {
    this.#end.abort();
  }

  /** Never rejects. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    // No client sends a request before the last one is answered; what does may be two views of one stream.
    if (this.#answering.has(socket)) {
      socket.destroy();
      return;
    }
    this.#answering.add(socket);
    // When the client has all, its next request may come, or the connection may be closed.
    response.once('finish', () => {
      this.#answering.delete(socket);
      this.#stopped?.();
    });
    // Of a client that left in the very moment in which it was answered; without a listener it would end the process.
    response.on('error', (error) => this.#options.logger.debug({ error }, 'a client left'));
    try {
      await this.#answer(request, response);
    } catch (error) {
      this.#failed(request, response, error);
    } finally {
      this.#answering.delete(socket);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = '', headers } = request;
    const reads = method === 'GET' || method === 'HEAD';
    const body = headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
    const stopping = this.#stopped !== undefined;
    if (url === '/healthz' && reads && !body)
      return answer(response, stopping ? 503 : 200, stopping ? 'stopping' : 'ok', { close: stopping });
    if (!this.admit(request)) {
      this.#refused(request.socket.remoteAddress);
      return answer(response, 401, 'pgark: a token or a client certificate is needed', {
        headers: { 'WWW-Authenticate': 'Bearer realm="pgark"' },
        close: true,
      });
    }
    this.strangers.admit(request.socket);
    if (!reads)
      return answer(response, 405, 'pgark: only GET and HEAD', { headers: { Allow: 'GET, HEAD' }, close: true });
    const address = body ? undefined : parseWalTarget(url);
    if (address === undefined)
      return answer(response, 400, 'pgark: not /v1/CLUSTER/SYSTEM-ID/wal/NAME', { close: true });
    const followed = headers[TIMELINE_HEADER];
    const timeline = followed === undefined ? undefined : parseTimelineNumber(String(followed));
    if (followed !== undefined && timeline === undefined)
      return answer(response, 400, 'pgark: not the number of a timeline', { close: true });
    if (address.cluster !== this.#cluster)
      return answer(response, 421, `pgark: this is the server of the cluster ${this.#cluster}`);
    const { maxRequests } = this.#options.config;
    if (stopping || this.#answering.size > maxRequests)
      return answer(response, 503, `pgark: ${stopping ? 'stopping' : `${maxRequests} requests are under way`}`, {
        headers: { 'Retry-After': '2' },
        close: stopping,
      });
    await this.#answerFile({ ...address, timeline }, request, response);
  }

  /** Says it at once, then now and then: who has no credential must not fill the log. */
  #refused(from: string | undefined): void {
    this.#refusals++;
    const now = performance.now();
    if (now < this.#nextRefusal) return;
    this.#options.logger.warn({ from, requests: this.#refusals }, 'requests without valid credentials');
    this.#refusals = 0;
    this.#nextRefusal = now + REFUSAL_PAUSE;
  }

  async #answerFile(address: Asked, { method, socket }: IncomingMessage, response: ServerResponse): Promise<void> {
    const { logger, config } = this.#options;
    const from = socket.remoteAddress; // it is not known any more once the client has left
    const { file, systemId, cluster } = address;
    const left = new AbortController();
    const leave = (): void => left.abort();
    socket.once('close', leave);
    let verified: VerifiedFile | undefined;
    try {
      verified = await this.#verified(address, AbortSignal.any([left.signal, this.#end.signal]));
      if (verified === undefined) {
        logger.debug({ file: file.name, from }, 'missing');
        return answer(response, 404, missingText(cluster, systemId, file.name));
      }
      response.writeHead(200, {
        ...HEADERS,
        'Content-Type': WAL_TYPE,
        'Content-Length': verified.size,
        'Repr-Digest': `sha-256=:${verified.sha256}:`,
        'Accept-Ranges': 'none',
        ...(this.#stopped === undefined ? {} : { Connection: 'close' }),
      });
      if (method === 'HEAD') response.end();
      else await sendFile(response, verified, config.stallTimeout);
      logger.debug({ file: file.name, from }, method === 'HEAD' ? 'looked up' : 'sent');
    } finally {
      socket.off('close', leave);
      await verified?.handle.close();
    }
  }

  /** In line with others, all in a limited time. */
  async #verified(address: Asked, signal: AbortSignal): Promise<VerifiedFile | undefined> {
    const { repositories, spool, config, logger } = this.#options;
    const work = async (either: AbortSignal): Promise<VerifiedFile | undefined> => {
      await this.#line.enter(either);
      try {
        return await verifiedFile(address, {
          repositories,
          logger,
          signal: either,
          ...(spool === undefined ? {} : { spool }),
          ...(address.timeline === undefined ? {} : { timeline: address.timeline }),
          ...(config.folder === undefined ? {} : { folder: config.folder }),
        });
      } finally {
        this.#line.leave();
      }
    };
    return withDeadline(`fetching ${address.file.name}`, ANSWER_LIMIT, signal, async (either) => {
      const verified = await work(either);
      if (!either.aborted) return verified;
      // Nobody waits for it any more.
      await verified?.handle.close();
      throw new ArchiveError('ABORTED', `fetching ${address.file.name} was cancelled`);
    });
  }

  #failed({ socket, url }: IncomingMessage, response: ServerResponse, error: unknown): void {
    const { logger } = this.#options;
    const failure = isArchiveError(error)
      ? error
      : new ArchiveError('INTERNAL', 'unexpected failure', { cause: error });
    const { code, message } = failure;
    const fields = { code, from: socket.remoteAddress, target: url?.slice(0, 200) };
    if (response.headersSent || socket.destroyed) {
      response.destroy();
      logger.info(fields, `not sent whole: ${message}`);
      return;
    }
    if (code === 'INTERNAL') logger.error({ ...fields, error }, message);
    else logger.warn(fields, message);
    answerFailure(response, failure);
  }
}
