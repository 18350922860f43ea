/** What the thread that receives and the thread that ships say to each other. Plain data: it is copied between them. */
import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { ArchiveEvents } from '../contracts/hook.ts';
import { Secret } from '../contracts/secret.ts';
import type { TimelineRange } from '../postgres/timeline.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import type { WalPosition } from './spool.ts';

/** What the receiving thread is started with. */
export interface ThreadData {
  readonly target: PlainTarget;
  /** `<spool>` and the name of the cluster, as for {@link import('./spool.ts').Spool}. */
  readonly root: string;
  readonly cluster: string;
  readonly slot: string;
  readonly createSlot: boolean;
  readonly ack: 'local' | 'remote';
  /** Milliseconds. */
  readonly statusInterval: number;
  readonly onGap: 'continue' | 'stop';
  /** Stop once WAL up to here is durable. */
  readonly until: bigint | undefined;
  readonly acceptTimeline: number | undefined;
}

/** What is known of the server once a connection stands. */
export interface SystemInfo {
  readonly systemId: string;
  readonly segmentSize: number;
}

/** What the archive holds, per timeline the end of its WAL (the start of a segment). */
export type ArchiveEnds = ReadonlyMap<number, bigint>;

/** The line of descent of the server's timeline, oldest first. */
export type Lineage = readonly TimelineRange[];

/** WAL that is lost between two positions. */
export interface Gap {
  readonly from: WalPosition;
  readonly to: WalPosition;
  readonly reason: string;
}

/** The most bytes of one slice: it is held in memory while it is stored. */
export const MOST_OF_SLICE: number = 16 * 1024 * 1024;

/** Bytes of the open segment that are durable in the spool and were not given before. */
export interface Slice {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** How far a stream is. */
export interface ReceiverPosition {
  readonly timeline: number;
  readonly received: bigint;
  /** Durable in the spool. */
  readonly flushed: bigint;
  /** The end of the server's WAL, as it said last. */
  readonly serverEnd: bigint;
}

/** A question of the receiving thread, answered by a message with the same `id`. */
export type Question =
  | {
      readonly kind: 'archive';
      readonly systemId: string;
      readonly segmentSize: number;
      readonly lineage: readonly TimelineRange[];
      /** Of several repositories the furthest counts, not the least: the server no longer has what the others lack. */
      readonly furthest: boolean;
      /** That the receiver can go on without the answer, so that nobody waits for it for long. */
      readonly optional: boolean;
    }
  | {
      readonly kind: 'gap';
      readonly systemId: string;
      readonly gap: Gap;
      /** That it is about to be stepped over, which the archive has to know. */
      readonly record: boolean;
      /** That it begins where this run or the spool ends, not where the archive does. */
      readonly own: boolean;
    };

export type FromThread =
  | { readonly type: 'system'; readonly info: SystemInfo }
  | { readonly type: 'event'; readonly event: ThreadEvent }
  | { readonly type: 'file'; readonly systemId: string; readonly name: string }
  | { readonly type: 'opened'; readonly name: string; readonly start: bigint; readonly lineage: Lineage }
  | { readonly type: 'slice'; readonly slice: Slice }
  | { readonly type: 'hurry' }
  | { readonly type: 'position'; readonly position: ReceiverPosition }
  | { readonly type: 'ask'; readonly id: number; readonly question: Question }
  /** Said every second, whatever the stream does. */
  | { readonly type: 'alive' }
  | { readonly type: 'note'; readonly level: 'info' | 'warn'; readonly message: string }
  | { readonly type: 'end'; readonly reason: 'stopped' | 'until'; readonly position: WalPosition | undefined }
  | { readonly type: 'failed'; readonly error: PlainError };

/** Events that begin in the receiving thread. */
export type ThreadEvent = {
  [Name in 'receive.connected' | 'receive.disconnected' | 'wal.timeline' | 'wal.state']: {
    readonly name: Name;
    readonly data: ArchiveEvents[Name];
  };
}['receive.connected' | 'receive.disconnected' | 'wal.timeline' | 'wal.state'];

export type ToThread =
  | { readonly type: 'stop' }
  | { readonly type: 'confirmed'; readonly position: WalPosition }
  | { readonly type: 'want-slice' }
  | { readonly type: 'leader'; readonly host: string }
  | { readonly type: 'answer'; readonly id: number; readonly value?: unknown; readonly error?: PlainError };

/** A connection target whose secrets are plain, so that it can be copied. It never leaves the process. */
export interface PlainTarget {
  readonly target: ConnectionTarget;
  readonly password: string | undefined;
  readonly keyPassword: string | undefined;
}

export function plainTarget(target: ConnectionTarget): PlainTarget {
  const { password, tls, ...rest } = target;
  const { keyPassword, ...tlsRest } = tls;
  return { target: { ...rest, tls: tlsRest }, password: password?.reveal(), keyPassword: keyPassword?.reveal() };
}

export function targetOf({ target, password, keyPassword }: PlainTarget): ConnectionTarget {
  return {
    ...target,
    tls: { ...target.tls, ...(keyPassword !== undefined && { keyPassword: new Secret(keyPassword) }) },
    ...(password !== undefined && { password: new Secret(password) }),
  };
}

/** An {@link ArchiveError} that can be copied. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly retriable: boolean;
  readonly details: Readonly<Record<string, unknown>>;
}

export function plainError(error: unknown): PlainError {
  const { code, message, hint, retriable, details } = asArchiveError(error);
  return { code, message, hint, retriable, details: structuredClone(details) };
}

export function errorOf({ code, message, ...options }: PlainError): ArchiveError {
  return new ArchiveError(code, message, options);
}

/** Any error as one of the table: what is none is a fault of pgark. */
export function asArchiveError(error: unknown): ArchiveError {
  if (isArchiveError(error)) return error;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new ArchiveError('INTERNAL', text, { cause: error });
}
