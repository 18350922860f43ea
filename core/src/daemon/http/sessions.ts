/** Sessions of browsers: a cookie that stands for a token, and ends with it. Held in memory: after a restart one logs in again. */
import { createHash, randomBytes } from 'node:crypto';
import type { KnownToken, Tokens } from './tokens.ts';

/** Milliseconds after which one logs in again. */
const LIFE = 12 * 3_600_000;
/** Of one token: the oldest makes room, so that no token ends the sessions of another one. */
const MOST = 50;

interface Session {
  readonly token: Buffer;
  readonly name: string;
  /** As {@link SessionsOptions.now} has it. */
  readonly ends: number;
}

export interface SessionsOptions {
  /** Milliseconds of a clock that only goes on. Default: that of the process. */
  readonly now?: () => number;
}

export class Sessions {
  /** By a digest, so that no time of a comparison says anything of an id. In the order in which they began. */
  readonly #open = new Map<string, Session>();
  readonly #now: () => number;

  constructor(options: SessionsOptions = {}) {
    this.#now = options.now ?? (() => performance.now());
  }

  /** Begins one; gives what the cookie holds. */
  begin({ name, digest }: KnownToken): string {
    const now = this.#now();
    const own: string[] = [];
    for (const [key, session] of this.#open) {
      if (session.ends <= now) this.#open.delete(key);
      else if (session.name === name) own.push(key);
    }
    for (const key of own.slice(0, Math.max(0, own.length + 1 - MOST))) this.#open.delete(key);
    const id = randomBytes(32).toString('base64url');
    this.#open.set(keyOf(id), { token: digest, name, ends: now + LIFE });
    return id;
  }

  /** Who has begun it; undefined when it has ended, or its token is gone. */
  find(id: string, tokens: Tokens): KnownToken | undefined {
    const key = keyOf(id);
    const session = this.#open.get(key);
    if (session === undefined) return undefined;
    const holder = session.ends > this.#now() ? tokens.holder(session.token) : undefined;
    if (holder === undefined) this.#open.delete(key);
    return holder;
  }

  end(id: string): void {
    this.#open.delete(keyOf(id));
  }

  get size(): number {
    return this.#open.size;
  }
}

/** Seconds, for the cookie. */
export const SESSION_SECONDS: number = LIFE / 1000;

function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('base64');
}
