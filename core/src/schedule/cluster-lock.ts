/**
 * One scheduler among all daemons of a cluster: an advisory lock on its server, held by an ordinary connection, and gone with it.
 *
 * Only the primary can say who has it: a standby has advisory locks of its own. So hosts that are standbys are passed over, whatever
 * `target_session_attrs` says, and after a promotion the lock is taken anew on the new primary. Locks are those of one database; it is
 * `postgres`, whatever the config names, so that all daemons mean the same one.
 */
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Session } from '../postgres/login.ts';
import { openSession } from '../postgres/connect.ts';
import { serverError } from '../postgres/server-error.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import { pause } from './clock.ts';

/** What the lock of the scheduler gives who has it. */
export interface Lead {
  readonly systemId: string;
  /** `db1:5432` */
  readonly host: string;
  /** Fires when the lock is lost, with an error that says why. */
  readonly lost: AbortSignal;
  /** Gives it back. It does not throw. */
  release(): Promise<void>;
}

/** Why a scheduler has to wait. `taken`: another one runs the jobs. */
export interface Waiting {
  readonly taken: boolean;
  readonly problem: string;
}

export interface TakeLeadOptions {
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Told each time that it could not be had. */
  readonly onWaiting: (waiting: Waiting) => void;
}

/** Waits for the lock, as long as it takes. Errors: `ABORTED`. */
export type TakeLead = (options: TakeLeadOptions) => Promise<Lead>;

export interface ClusterLockOptions {
  readonly cluster: string;
  readonly target: () => Promise<ConnectionTarget>;
  /** Milliseconds between two looks: whether the lock is free, and whether it is still held. Default 3000. */
  readonly interval?: number;
}

const INTERVAL = 3000;
/** Milliseconds for one answer. */
const DEADLINE = 10_000;
const DATABASE = 'postgres';

/** The key of the lock, a signed number of 64 bits: the same for all who use the cluster by this name. */
export function lockKey(cluster: string, systemId: string): bigint {
  return createHash('sha256').update(`pgark scheduler\n${cluster}\n${systemId}`).digest().readBigInt64BE(0);
}

/** The advisory lock of a cluster. */
export function clusterLock({ cluster, target, interval = INTERVAL }: ClusterLockOptions): TakeLead {
  // Of the session that had the lock last: the server may believe in it for a while after its connection is gone.
  let former = '';
  return async ({ signal, onWaiting }) => {
    for (;;) {
      try {
        const held = await attempt({ cluster, target, interval, signal, onWaiting, former });
        if (held !== undefined) {
          former = held.session;
          return held.lead();
        }
      } catch (error) {
        if (!signal.aborted) onWaiting({ taken: false, problem: problemOf(error) });
      }
      if (signal.aborted) throw new ArchiveError('ABORTED', 'waiting for the lock of the scheduler was cancelled');
      await pause(interval, signal);
    }
  };
}

type Attempt = Required<ClusterLockOptions> & TakeLeadOptions & { readonly former: string };

/** Connects, and asks for the lock until it is there; undefined when the signal fires. Errors: `SERVER_*`. */
async function attempt({
  cluster,
  target,
  interval,
  signal,
  onWaiting,
  former,
}: Attempt): Promise<HeldLock | undefined> {
  const session = await openPrimary(await target(), signal);
  const held = new HeldLock(session, cluster, interval);
  try {
    await held.prepare();
    for (;;) {
      if (await held.take()) return held;
      onWaiting(await held.waiting(former));
      await pause(interval, signal);
      if (signal.aborted) return undefined;
    }
  } finally {
    if (!held.isHeld) await held.close();
  }
}

async function openPrimary(target: ConnectionTarget, signal: AbortSignal): Promise<Session> {
  const applicationName = `pgark scheduler ${hostname()}`.slice(0, 63);
  const primary: ConnectionTarget = { ...target, applicationName, targetSessionAttrs: 'primary' };
  const options = { replication: false, signal } as const;
  try {
    return await openSession({ ...primary, database: DATABASE }, options);
  } catch (error) {
    // A role that may not connect there takes it in its own database, as all daemons of the cluster then do.
    if (!isRefused(error) || target.database === DATABASE) throw error;
    return openSession(primary, options);
  }
}

/** SQLSTATEs of a database that is not there, and of one that takes no connections. */
const NOT_THERE: ReadonlySet<unknown> = new Set(['3D000', '55000']);

/** Whether the database is refused to this role for good. A server that is full refuses everything now and then: two would have a lock each then. */
function isRefused(error: unknown): boolean {
  if (isArchiveError(error, 'SERVER_AUTH')) return true;
  if (!isArchiveError(error, 'SERVER_ERROR')) return false;
  const each: readonly unknown[] = error.cause instanceof AggregateError ? error.cause.errors : [error];
  return each.every((one) => isArchiveError(one) && NOT_THERE.has(one.details['sqlstate']));
}

class HeldLock {
  readonly #session: Session;
  readonly #cluster: string;
  readonly #interval: number;
  readonly #lost = new AbortController();
  readonly #closing = new AbortController();
  #systemId = '';
  #key = 0n;
  isHeld = false;
  /** Which session of the server it is, as {@link SESSION_ID} has it. */
  session = '';

  constructor(session: Session, cluster: string, interval: number) {
    this.#session = session;
    this.#cluster = cluster;
    this.#interval = interval;
  }

  async prepare(): Promise<void> {
    const sql = `
      SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system, ${SESSION_ID} AS session
        FROM pg_stat_activity WHERE pid = pg_backend_pid()`;
    const [row] = await this.#ask<{ system: string; session: string | null }>(sql, []);
    this.#systemId = row?.system ?? '';
    this.session = row?.session ?? '';
    this.#key = lockKey(this.#cluster, this.#systemId);
    await this.#ask(SESSION, []);
  }

  async take(): Promise<boolean> {
    const sql = 'SELECT NOT pg_is_in_recovery() AND pg_try_advisory_lock($1::bigint) AS held';
    const [row] = await this.#ask<{ held: boolean }>(sql, [String(this.#key)]);
    this.isHeld = row?.held === true;
    return this.isHeld;
  }

  /** Who has it instead. `former` is the session of this daemon that had it last. */
  async waiting(former: string): Promise<Waiting> {
    const sql = `
      SELECT application_name AS name, client_addr::text AS address, ${SESSION_ID} AS session
        FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE granted AND ${OWN_KEY} LIMIT 1`;
    const [row] = await this.#ask<{ name: string | null; address: string | null; session: string | null }>(
      sql,
      this.#halves(),
    );
    const { host } = this.#session;
    // Nobody else can run the jobs until it is gone.
    if (former !== '' && row?.session === former)
      return { taken: false, problem: `${host} has not noticed yet that a former connection of this daemon is gone` };
    const who = row?.name?.replace(/^pgark scheduler /, '') || row?.address || 'another host';
    return { taken: true, problem: `a daemon on ${who} runs the jobs of cluster "${this.#cluster}", as ${host} says` };
  }

  lead(): Lead {
    const { socket, host } = this.#session;
    const lose = (error: unknown): void => {
      if (this.#closing.signal.aborted) return;
      this.#lost.abort(new ArchiveError('SCHEDULER_WAITING', problemOf(error)));
      socket.destroy();
    };
    socket.once('close', () => lose(new ArchiveError('SERVER_UNREACHABLE', `the connection to ${host} was lost`)));
    if (socket.destroyed) lose(new ArchiveError('SERVER_UNREACHABLE', `the connection to ${host} was lost`));
    void this.#watch(lose);
    return { systemId: this.#systemId, host, lost: this.#lost.signal, release: () => this.close() };
  }

  /** A connection may be dead without a word, and a pooler may have given the session to somebody else. */
  async #watch(lose: (error: unknown) => void): Promise<void> {
    const sql = `
      SELECT NOT pg_is_in_recovery() AND EXISTS (
               SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND granted AND ${OWN_KEY}) AS held`;
    const signal = AbortSignal.any([this.#closing.signal, this.#lost.signal]);
    for (;;) {
      await pause(this.#interval, signal);
      if (signal.aborted) return;
      try {
        const [row] = await this.#ask<{ held: boolean }>(sql, this.#halves());
        if (row?.held !== true)
          throw new ArchiveError('SERVER_ERROR', `${this.#session.host} says that the lock is gone`);
      } catch (error) {
        lose(error);
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const { client, socket } = this.#session;
    const late = setTimeout(() => socket.destroy(), DEADLINE);
    await client.end().catch(() => undefined); // it is gone already
    clearTimeout(late);
  }

  /** The key as `pg_locks` shows it: two halves without sign. */
  #halves(): readonly string[] {
    const whole = BigInt.asUintN(64, this.#key);
    return [String(whole >> 32n), String(whole & 0xffffffffn)];
  }

  async #ask<Row extends object>(sql: string, values: readonly string[]): Promise<readonly Row[]> {
    const { client, socket, host } = this.#session;
    const late = AbortSignal.timeout(DEADLINE);
    const cut = (): void => {
      socket.destroy();
    };
    late.addEventListener('abort', cut, { once: true });
    try {
      return (await client.query<Row>(sql, [...values])).rows;
    } catch (error) {
      if (late.aborted) throw new ArchiveError('SERVER_UNREACHABLE', `${host} gave no answer in ${DEADLINE} ms`);
      const report = error as Parameters<typeof serverError>[0];
      if (/^[0-9A-Z]{5}$/.test(report.code ?? '')) throw serverError(report, { host });
      throw new ArchiveError('SERVER_UNREACHABLE', `${host}: ${report.message}`, { cause: error });
    } finally {
      late.removeEventListener('abort', cut);
    }
  }
}

/** A row of `pg_stat_activity` as a text: a process id alone comes again. */
const SESSION_ID = `(pid::text || ' ' || extract(epoch FROM backend_start)::text)`;

/**
 * The server keeps a session without end, and looks by itself whether who has it is still there: with its defaults it would believe for hours
 * in a host that lost its power or its network, and nobody could run the jobs. Seconds, but of the last, which is in milliseconds.
 */
const SESSION = `
  SELECT set_config('idle_session_timeout', '0', false), set_config('tcp_keepalives_idle', '10', false),
         set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '4', false),
         set_config('tcp_user_timeout', '30000', false)`;

const OWN_KEY = `locktype = 'advisory' AND objsubid = 1 AND classid::bigint = $1::bigint AND objid::bigint = $2::bigint`;

function problemOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return isArchiveError(error, 'SERVER_NO_MATCH')
    ? `no primary answers, and a standby cannot say who runs the jobs: ${text}`
    : text;
}
