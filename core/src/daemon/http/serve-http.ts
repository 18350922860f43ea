/** The HTTP side of the daemon: health, metrics, API and page, on one port. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import type { DaemonConfig } from '../../config/config.ts';
import type { SecretOptions } from '../../config/secrets.ts';
import { ArchiveError, errnoOf } from '../../contracts/errors.ts';
import type { Logger } from '../../contracts/plugin.ts';
import { bind } from '../../listen/bind.ts';
import { checkProtection, isLoopback, parseListenAddress } from '../../listen/listen-address.ts';
import { Strangers } from '../../listen/strangers.ts';
import { readTlsFiles } from '../../listen/tls-files.ts';
import type { Daemon } from '../daemon.ts';
import { refusalAnswer, refuseEarly, SECURITY_HEADERS } from './answers.ts';
import { httpApp, type MetricsSource, type MountedPage } from './app.ts';
import { Attempts } from './attempts.ts';
import { checkRequest } from './check-request.ts';
import { Gatekeeper } from './gatekeeper.ts';
import { hostNames } from './host-names.ts';
import { openApi } from './openapi.ts';
import { RecentRuns } from './recent-runs.ts';
import { refusal } from './refusal.ts';
import { API, ROUTES } from './routes/index.ts';
import type { HttpServer } from './server.ts';
import { readTokens, type Tokens } from './tokens.ts';
import { Turnstile } from './turnstile.ts';

export interface ServeHttpOptions {
  /** Its `config.listen` is an address. */
  readonly daemon: Daemon;
  /** Where secrets come from: variables, and the folder of the config. */
  readonly secrets: Pick<SecretOptions, 'env' | 'directory'>;
  readonly logger: Logger;
  /** Default: only the API is there. */
  readonly page?: MountedPage;
  /** Default: `/metrics` is not there. */
  readonly metrics?: MetricsSource;
}

/** Milliseconds for a handshake, for the head of a request, for all of it, and between two of them. */
const HANDSHAKE_LIMIT = 10_000;
const HEAD_LIMIT = 10_000;
const REQUEST_LIMIT = 30_000;
const IDLE_LIMIT = 60_000;
/** Milliseconds in which a client has to take its answer, and in which nothing passes: the work has its own limit. */
const ANSWER_LIMIT = 60_000;
const SILENCE_LIMIT = 180_000;
const GRACE = 5000;
/** Connections in all, and those of which none has shown a credential. */
const MOST_CONNECTIONS = 500;
const MOST_STRANGERS = 100;
/** Bytes of answers that their clients have not taken yet; then the oldest of these clients is cut off. */
const MOST_SENDING = 64 << 20;
/** Plans at once, and how many may wait: each reads from the storage. */
const PLANS = 2;
const PLANS_WAITING = 8;
/** Milliseconds between two lines about requests without credentials. */
const REFUSAL_PAUSE = 10_000;
const MAX_HEAD = 16_384;
/** Requests of one connection: then it is made anew, so that none is held for ever. */
const REQUESTS_OF_ONE = 10_000;

/**
 * Listens as `daemon.config` says. Errors: `CONFIG_INVALID` for an address that cannot be listened on, one that other hosts reach without TLS
 * and credentials, certificates and tokens that cannot be used; `SECRET_UNAVAILABLE`.
 */
export async function serveHttp(options: ServeHttpOptions): Promise<HttpServer> {
  const { daemon, logger } = options;
  const { config } = daemon;
  const address = parseListenAddress(config.listen ?? '', 'daemon');
  const certificates = config.tls?.clientCa !== undefined;
  const tokens = await tokensOf(options);
  const credentials = tokens.size > 0 || certificates;
  checkProtection(address, { section: 'daemon', tls: config.tls !== undefined, credentials });
  if (!credentials) logger.warn({}, 'nobody may ask for more than health: set daemon.tokens');
  const tls = await tlsOf(config);
  const work = new Requests(options, tokens, address.host, tls?.certificate);

  const http = {
    maxHeaderSize: MAX_HEAD,
    headersTimeout: HEAD_LIMIT,
    requestTimeout: REQUEST_LIMIT,
    keepAliveTimeout: IDLE_LIMIT,
    connectionsCheckingInterval: 2000,
  };
  const server =
    tls === undefined
      ? createServer(http)
      : createTlsServer({
          ...http,
          ...tls.context,
          handshakeTimeout: HANDSHAKE_LIMIT,
          requestCert: certificates,
          // Who has none may have a token.
          rejectUnauthorized: false,
        });
  server.on('request', (request, response) => void work.answer(request, response));
  // A connection costs memory before it has shown a credential.
  server.on('connection', (socket) => work.strangers.take(socket));
  server.on('clientError', (error, socket) => refuseUnread(error, socket));
  server.maxConnections = MOST_CONNECTIONS;
  server.maxRequestsPerSocket = REQUESTS_OF_ONE;
  server.timeout = SILENCE_LIMIT;
  const isProtected = tls !== undefined && credentials;
  const bound = await bind(server, address, { section: 'daemon', isProtected }).catch((error: unknown) => {
    work.close();
    throw error;
  });
  server.on('error', (error) => logger.warn({ error }, 'a connection could not be taken'));
  work.gatekeeper.listening(bound.port);

  return {
    url: `${tls === undefined ? 'http' : 'https'}://${bound.name}`,
    reload: async () => {
      const [again, fresh] = await Promise.all([tokensOf(options), tlsOf(daemon.config)]);
      if ((fresh === undefined) !== (tls === undefined))
        throw new ArchiveError('CONFIG_INVALID', 'whether there is TLS is decided at the start');
      if (again.size === 0 && !certificates && !isLoopback(bound.address))
        throw new ArchiveError('CONFIG_INVALID', 'an address that other hosts reach needs a token');
      work.take(again, fresh?.certificate);
      if (fresh !== undefined) (server as TlsServer).setSecureContext(fresh.context);
    },
    close: async (grace = GRACE) => {
      const closed = once(server, 'close');
      server.close();
      work.stop(() => server.closeIdleConnections());
      const end = setTimeout(() => server.closeAllConnections(), grace);
      await closed;
      clearTimeout(end);
      work.close();
    },
  };
}

function tokensOf({ daemon, secrets }: ServeHttpOptions): Promise<Tokens> {
  return readTokens(daemon.config.tokens, secrets);
}

async function tlsOf({
  tls,
}: DaemonConfig): Promise<
  { readonly context: Awaited<ReturnType<typeof readTlsFiles>>; readonly certificate: Buffer } | undefined
> {
  if (tls === undefined) return undefined;
  const context = await readTlsFiles(tls, 'daemon');
  return { context, certificate: await readFile(tls.certificate) };
}

/** What is no HTTP, or comes too slowly. */
function refuseUnread(error: Error, socket: Duplex): void {
  const status = UNREAD[errnoOf(error) ?? ''] ?? '400 Bad Request';
  if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  else socket.destroy();
}

const UNREAD: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
};

/** Requests on their way to the routes. */
class Requests {
  readonly strangers: Strangers = new Strangers(MOST_STRANGERS);
  readonly gatekeeper: Gatekeeper;
  readonly #options: ServeHttpOptions;
  readonly #recent: RecentRuns;
  readonly #host: string;
  readonly #listener: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  #isHost: (header: string | undefined) => boolean;
  readonly #sending = new Set<ServerResponse>();
  #stopped: (() => void) | undefined;
  #refusals = 0;
  #nextRefusal = 0;

  constructor(options: ServeHttpOptions, tokens: Tokens, host: string, certificate: Buffer | undefined) {
    const { daemon, logger, page, metrics } = options;
    const { tls, clientRole } = daemon.config;
    this.#options = options;
    this.#recent = new RecentRuns(daemon);
    this.#host = host;
    this.#isHost = this.#hostCheck(certificate);
    this.gatekeeper = new Gatekeeper({
      tokens,
      attempts: new Attempts(),
      secure: tls !== undefined,
      ...(tls?.clientCa !== undefined && { clientRole }),
      onRefused: (from) => this.#refused(from),
      onAdmitted: (socket) => this.strangers.admit(socket),
    });
    let openapi: unknown;
    const app = httpApp({
      daemon,
      gatekeeper: this.gatekeeper,
      logger,
      ...(page !== undefined && { page }),
      ...(metrics !== undefined && { metrics }),
      tools: {
        daemon,
        recent: this.#recent,
        heavy: new Turnstile(PLANS, PLANS_WAITING),
        openapi: () => (openapi ??= openApi(ROUTES, API)),
        acted: (caller, what, fields) => logger.info({ caller: caller.name, ...fields }, `${caller.name} ${what}`),
      },
    });
    this.#listener = getRequestListener((request, env) => app.fetch(request, env), {
      overrideGlobalObjects: false,
      // Before the routes: what cannot be made a request of.
      errorHandler: () => refusalAnswer(refusal('REQUEST_INVALID', 'the request cannot be read'), SECURITY_HEADERS),
    });
  }

  take(tokens: Tokens, certificate: Buffer | undefined): void {
    this.gatekeeper.take(tokens);
    this.#isHost = this.#hostCheck(certificate);
  }

  close(): void {
    this.#recent.close();
  }

  /** From now on connections end with the request that is under way; `idle` is called when one has ended. */
  stop(idle: () => void): void {
    this.#stopped = idle;
  }

  /** Never rejects. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { logger } = this.#options;
    response.on('error', (error) => logger.debug({ error }, 'a client left'));
    if (this.#stopped !== undefined) response.setHeader('Connection', 'close');
    const wrong = checkRequest(request, { isHost: this.#isHost });
    if (wrong !== undefined) return refuseEarly(response, wrong);
    response.once('close', () => {
      this.#sending.delete(response);
      this.#stopped?.();
    });
    try {
      await this.#listener(request, response);
    } catch (error) {
      logger.error({ error }, 'a request has failed');
      response.destroy();
    }
    this.#watch(response);
  }

  /** An answer that its client takes slowly is held in memory: not for ever, and not too many of them. */
  #watch(response: ServerResponse): void {
    if (response.writableFinished || response.destroyed) return;
    this.#sending.add(response);
    const late = setTimeout(() => response.destroy(), ANSWER_LIMIT).unref();
    response.once('close', () => clearTimeout(late));
    let held = [...this.#sending].reduce((sum, one) => sum + one.writableLength, 0);
    for (const oldest of this.#sending) {
      if (held <= MOST_SENDING) break;
      held -= oldest.writableLength;
      oldest.destroy();
    }
  }

  #hostCheck(certificate: Buffer | undefined): (header: string | undefined) => boolean {
    const { names } = this.#options.daemon.config;
    return hostNames({ host: this.#host, names, ...(certificate !== undefined && { certificate }) });
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
}
