/** Who may ask for what: credentials, sessions, and what pages of other sites may not do. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Role } from '../../config/config.ts';
import { clientCertificate } from '../../listen/client-certificate.ts';
import { bearerOf } from '../../listen/token.ts';
import type { Attempts } from './attempts.ts';
import type { Caller } from './caller.ts';
import { isRefusal, refusal, type Refusal } from './refusal.ts';
import { isWelcome, type OriginHeaders } from './same-origin.ts';
import { SESSION_SECONDS, Sessions } from './sessions.ts';
import type { KnownToken, Tokens } from './tokens.ts';

export interface GatekeeperOptions {
  readonly tokens: Tokens;
  readonly attempts: Attempts;
  /** What a certificate of the CA of clients is worth; undefined where none is asked for. */
  readonly clientRole?: Role;
  /** Whether cookies are for TLS alone. */
  readonly secure: boolean;
  /** Told of each request that was refused for its credentials, and of each that had good ones. */
  readonly onRefused: (address: string | undefined) => void;
  readonly onAdmitted: (socket: Socket) => void;
}

export interface Admitted {
  readonly caller: Caller;
  /** What says so: browsers send the cookie of a session, and show a certificate, to every page that asks. */
  readonly by: 'token' | 'certificate' | 'session';
}

const COOKIE_VALUE = /^[A-Za-z0-9_-]{43}$/;

export class Gatekeeper {
  #tokens: Tokens;
  readonly #options: GatekeeperOptions;
  readonly #sessions = new Sessions();
  #port = 0;

  constructor(options: GatekeeperOptions) {
    this.#options = options;
    this.#tokens = options.tokens;
  }

  /** The port is in the name of the cookie: browsers give cookies to every port of a host. */
  listening(port: number): void {
    this.#port = port;
  }

  /** Other tokens: sessions of those that are gone end. */
  take(tokens: Tokens): void {
    this.#tokens = tokens;
  }

  /** Who asks; or why that is not answered. */
  async admit(request: IncomingMessage, signal: AbortSignal): Promise<Admitted | Refusal> {
    const admitted = await this.#admit(request, signal);
    if (!isRefusal(admitted)) this.#options.onAdmitted(request.socket);
    return admitted;
  }

  async #admit(request: IncomingMessage, signal: AbortSignal): Promise<Admitted | Refusal> {
    const given = bearerOf(request);
    if (given !== undefined) {
      const found = await this.#tryToken(given, request.socket.remoteAddress, signal);
      return isRefusal(found) ? found : { caller: callerOf(found), by: 'token' };
    }
    const { clientRole } = this.#options;
    const certificate = clientRole === undefined ? undefined : clientCertificate(request.socket);
    if (clientRole !== undefined && certificate !== undefined) {
      const { CN } = certificate.subject;
      const name = (Array.isArray(CN) ? CN[0] : CN) ?? 'certificate';
      return { caller: { name: name.slice(0, 100), role: clientRole }, by: 'certificate' };
    }
    const session = this.#sessionIn(request);
    const holder = session === undefined ? undefined : this.#sessions.find(session, this.#tokens);
    if (holder !== undefined) return { caller: callerOf(holder), by: 'session' };
    this.#options.onRefused(request.socket.remoteAddress);
    return refusal('REQUEST_UNAUTHENTICATED', 'a token, a session or a client certificate is needed');
  }

  /** Whether the page that sent it may do so. */
  checkOrigin(
    request: IncomingMessage,
    how: { readonly isPage: boolean; readonly byBrowser: boolean },
  ): Refusal | undefined {
    const acts = request.method !== 'GET' && request.method !== 'HEAD';
    if (isWelcome(originHeaders(request), { acts, ...how })) return undefined;
    return refusal(
      'REQUEST_CROSS_SITE',
      'the request comes from a page of another site, or does not say from where it comes',
    );
  }

  /** Begins a session; gives the header with its cookie. A session that the browser had ends. */
  async login(
    token: string,
    request: IncomingMessage,
    signal: AbortSignal,
  ): Promise<{ readonly cookie: string; readonly caller: Caller } | Refusal> {
    const found = await this.#tryToken(token, request.socket.remoteAddress, signal);
    if (isRefusal(found)) return found;
    this.#options.onAdmitted(request.socket);
    this.#end(request);
    const id = this.#sessions.begin(found);
    return { cookie: this.#cookie(id, SESSION_SECONDS, request), caller: callerOf(found) };
  }

  /** Ends the session of the request; gives the header that takes its cookie away. */
  logout(request: IncomingMessage): string {
    this.#end(request);
    return this.#cookie('', 0, request);
  }

  async #tryToken(text: string, address: string | undefined, signal: AbortSignal): Promise<KnownToken | Refusal> {
    const { attempts, onRefused } = this.#options;
    const found = this.#tokens.find(text);
    if (!(await attempts.turn(address, found?.name, signal)))
      return refusal('REQUEST_TOO_MANY', 'too many wrong tokens have come from this address');
    // It may have gone while this one waited.
    const holder = found && this.#tokens.holder(found.digest);
    if (holder !== undefined) {
      attempts.met(address, holder.name);
      return holder;
    }
    attempts.failed(address);
    onRefused(address);
    return refusal('REQUEST_UNAUTHENTICATED', 'the token is none of this daemon');
  }

  #end(request: IncomingMessage): void {
    const session = this.#sessionIn(request);
    if (session !== undefined) this.#sessions.end(session);
  }

  get #name(): string {
    // Browsers take a cookie of such a name from this very host only, and over TLS.
    return `${this.#options.secure ? '__Host-' : ''}pgark-session-${this.#port}`;
  }

  #cookie(value: string, seconds: number, { headers }: IncomingMessage): string {
    // What a proxy says makes it no worse.
    const secure = this.#options.secure || headers['x-forwarded-proto'] === 'https' ? '; Secure' : '';
    return `${this.#name}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`;
  }

  #sessionIn({ headers }: IncomingMessage): string | undefined {
    for (const pair of (headers.cookie ?? '').split(';')) {
      const at = pair.indexOf('=');
      const value = pair.slice(at + 1).trim();
      if (at > 0 && pair.slice(0, at).trim() === this.#name && COOKIE_VALUE.test(value)) return value;
    }
    return undefined;
  }
}

function callerOf({ name, role }: KnownToken): Caller {
  return { name, role };
}

function originHeaders({ headers }: IncomingMessage): OriginHeaders {
  const one = (name: string): string | undefined => {
    const value = headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  };
  return { host: headers.host, origin: headers.origin, site: one('sec-fetch-site'), mode: one('sec-fetch-mode') };
}
