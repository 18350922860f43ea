/** Other daemons, asked over their API for their clusters. A page never waits long for one: it shows what is known, and how old that is. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DaemonConfig } from '../../config/config.ts';
import { readSecret } from '../../config/secrets.ts';
import { checkToken } from '../../listen/token.ts';
import type { Level } from '../../status/judge.ts';

type PeerConfig = DaemonConfig['peers'][number];

/** One line of truth of a cluster of another daemon. */
export interface PeerCluster {
  readonly name: string;
  readonly level: Level;
  readonly text: string;
  readonly reasons: readonly string[];
}

export interface PeerState {
  readonly name: string;
  readonly url: string;
  /** As of `answered`; empty while nothing is known. */
  readonly clusters: readonly PeerCluster[];
  /** Why nothing is known now. */
  readonly problem?: string;
  /** When it answered last, epoch milliseconds. */
  readonly answered?: number;
}

export interface PeersOptions {
  /** As it is now: another one after a reload. An answer is kept for its `refresh`. */
  readonly config: () => Pick<DaemonConfig, 'peers' | 'refresh'>;
  readonly env: NodeJS.ProcessEnv;
  /** The folder of the config. */
  readonly directory: string;
}

/** Milliseconds for an answer, and for which a page waits for it. */
const TIMEOUT = 3000;
const PATIENCE = 150;
/** Refreshes, and milliseconds at least, after which an answer says nothing of now: nobody may have looked at the page for hours. */
const MISSED = 3;
const LEAST = 30_000;
/** Bytes of an answer that are read. */
const LONGEST = 4 << 20;

export class Peers {
  readonly #options: PeersOptions;
  readonly #states = new Map<string, PeerState>();
  #asked = 0;
  #asking: Promise<void> | undefined;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** What is known of each, in the order of the config. Asks anew when that is old, and waits a moment for it. */
  async states(now: number): Promise<readonly PeerState[]> {
    const { peers, refresh } = this.#options.config();
    if (peers.length === 0) return [];
    // A clock may have been set back.
    if (this.#asking === undefined && (now < this.#asked || now - this.#asked >= refresh)) {
      this.#asked = now;
      this.#asking = this.#askAll().finally(() => {
        this.#asking = undefined;
      });
    }
    const waiting = new AbortController();
    await Promise.race([this.#asking, sleep(PATIENCE, undefined, { signal: waiting.signal }).catch(() => undefined)]);
    waiting.abort();
    return peers.map(({ name, url }) => {
      const state = this.#states.get(name);
      if (state === undefined) return { name, url, clusters: [], problem: 'it has not answered yet' };
      const isOld = state.answered !== undefined && now - state.answered > Math.max(MISSED * refresh, LEAST);
      return isOld ? { problem: 'it has not answered again yet', ...state, clusters: [] } : state;
    });
  }

  async #askAll(): Promise<void> {
    await Promise.all(
      this.#options.config().peers.map(async (peer) => {
        const before = this.#states.get(peer.name);
        const { name, url } = peer;
        try {
          this.#states.set(name, { name, url, clusters: await this.#ask(peer), answered: Date.now() });
        } catch (error) {
          // What it said before is not what holds now: only when it was said is kept.
          const problem = error instanceof Error ? problemOf(error) : String(error);
          const answered = before?.answered === undefined ? {} : { answered: before.answered };
          this.#states.set(name, { name, url, clusters: [], problem, ...answered });
        }
      }),
    );
  }

  async #ask({ url, token, name }: PeerConfig): Promise<readonly PeerCluster[]> {
    const { env, directory } = this.#options;
    const signal = AbortSignal.timeout(TIMEOUT);
    const what = `daemon.peers: the token of ${name}`;
    // What cannot be sent would stand in the error of who was to send it.
    const secret =
      token === undefined ? undefined : checkToken(await readSecret(token, { env, directory, what, signal }), what);
    const address = new URL('api/v1/clusters', url.endsWith('/') ? url : `${url}/`);
    const headers = {
      accept: 'application/json',
      ...(secret === undefined ? {} : { authorization: `Bearer ${secret.reveal()}` }),
    };
    const response = await fetch(address, { headers, signal, redirect: 'error' });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(
        response.status === 401 || response.status === 403
          ? 'it does not take the token'
          : `it answered with status ${response.status}`,
      );
    }
    return clustersOf(await textOf(response));
  }
}

async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > LONGEST) throw new Error('its answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const LEVELS: ReadonlySet<unknown> = new Set(['ok', 'warning', 'critical', 'unknown'] satisfies Level[]);

/** What another version says in a way that is not known here is unknown. */
function clustersOf(text: string): readonly PeerCluster[] {
  const body = JSON.parse(text) as { readonly clusters?: unknown; readonly broken?: unknown };
  if (!Array.isArray(body.clusters)) throw new Error('its answer is not understood');
  const clusters = (body.clusters as readonly Readonly<Record<string, unknown>>[]).map(
    ({ name, level, canRestoreTo, reasons, look }) => {
      const isOld = (look as { readonly stale?: unknown } | undefined)?.stale === true;
      return {
        name: String(name),
        level: LEVELS.has(level) && !isOld ? (level as Level) : 'unknown',
        text: typeof canRestoreTo === 'string' ? canRestoreTo : `${String(name)}: unknown`,
        reasons: [...(isOld ? ['its last look is STALE'] : []), ...(Array.isArray(reasons) ? reasons.map(String) : [])],
      } satisfies PeerCluster;
    },
  );
  const broken: readonly unknown[] = Array.isArray(body.broken) ? body.broken : [];
  return [...clusters, ...broken.map(brokenOf)];
}

/** One for which that daemon does nothing. */
function brokenOf(given: unknown): PeerCluster {
  const { name, error } = given as { readonly name?: unknown; readonly error?: { readonly message?: unknown } };
  const why = typeof error?.message === 'string' ? error.message : 'its section of the config cannot be used';
  return {
    name: String(name),
    level: 'unknown',
    text: `${String(name)}: unknown`,
    reasons: [`nothing is done for it: ${why}`],
  };
}

function problemOf(error: Error): string {
  if (error.name === 'TimeoutError') return `it gave no answer within ${TIMEOUT / 1000} s`;
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  return cause === undefined ? error.message : `it could not be asked: ${cause}`;
}
