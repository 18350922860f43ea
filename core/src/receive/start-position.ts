/**
 * Where a stream begins. Pure: everything that was asked of spool, archive and server comes in, a decision comes out.
 *
 * `known` is the position up to which WAL is safe: that of this run, else of the spool, else of the archive.
 *
 * | known | slot       | decision                                                                                   |
 * | ----- | ---------- | ------------------------------------------------------------------------------------------ |
 * | none  | missing    | make the slot (it reserves WAL), begin at its restart position; nothing came before it     |
 * | none  | unreserved | the same, after dropping it: it keeps nothing                                              |
 * | none  | reserved   | begin at the slot's restart position                                                       |
 * | P     | missing    | state SLOT_MISSING, make the slot, begin at P: the server may have P or not, see below     |
 * | P     | unreserved | state SLOT_INVALIDATED, make the slot anew, begin at P                                     |
 * | P     | reserved   | begin at P, ahead of the slot or behind it: behind, the server may still have the WAL      |
 *
 * A slot that has gone beyond P was moved by another receiver, which stands in for this one: then the archive is asked too, and the
 * later of both is P.
 *
 * Where pgark may not make slots, a missing one is `SLOT_MISSING`, one that the server refuses as invalidated (18 and
 * later) `SLOT_INVALIDATED`, and an unreserved one is used as it is, from the server's present segment on without P.
 *
 * When the server no longer has P (`WAL_GAP`), the archive is asked once more, since it may be ahead of an old spool.
 * What is then still missing is a gap, from P to where the server can go on: the slot's restart position if that lies
 * behind P, else the oldest position that a new reservation gets (gap.ts). It is recorded before it is stepped over.
 *
 * P on a timeline that has ended must lie before its end in the server's history, or the two have diverged.
 * So must the newest timeline of all that is held, when it is newer than that of P: else the server goes on beside it. Once
 * that is accepted and WAL of the server's own, newer timeline is held, that one is the newest, and nothing is left to accept.
 * A server in recovery may be behind P: it is waited for. A primary that is behind P has lost WAL or is not the one
 * that wrote P: `TIMELINE_DIVERGED`.
 */
import { ArchiveError } from '../contracts/errors.ts';
import type { SlotState } from '../postgres/replication/connection.ts';
import { formatLsn } from '../postgres/lsn.ts';
import type { TimelineRange } from '../postgres/timeline.ts';
import { segmentStart } from '../postgres/wal-file.ts';
import type { WalPosition } from './spool.ts';

/** What the server says about itself. */
export interface ServerState {
  readonly systemId: string;
  readonly host: string;
  readonly timeline: number;
  readonly flushLsn: bigint;
  readonly inRecovery: boolean;
  /** The line of descent of its timeline, oldest first. */
  readonly lineage: readonly TimelineRange[];
  readonly segmentSize: number;
}

/** What is in the spool or the archive, as far as it matters for a server. */
export interface Holdings {
  /** The start of the segment to go on with, on the newest timeline of the server's line of descent that has any. */
  readonly position?: WalPosition;
  /** The highest timeline of which anything is held, of whatever descent. */
  readonly newestTimeline: number;
}

/**
 * Whether another receiver has used the slot since: what is acknowledged by this one lies within the segment to go on with. So the
 * archive may hold more than this spool does.
 */
export function isOvertaken(
  position: WalPosition | undefined,
  slot: SlotState,
  { segmentSize }: Pick<ServerState, 'segmentSize'>,
): boolean {
  if (position === undefined || slot.state !== 'reserved') return false;
  return segmentStart(slot.restartLsn, segmentSize) > position.lsn;
}

/** From the end of each timeline's WAL (a start of a segment) to the holdings for a server of this line of descent. */
export function holdings(ends: ReadonlyMap<number, bigint>, lineage: readonly TimelineRange[]): Holdings {
  const newestTimeline = Math.max(0, ...ends.keys());
  for (const { timeline } of lineage.toReversed()) {
    const lsn = ends.get(timeline);
    if (lsn !== undefined) return { position: { timeline, lsn }, newestTimeline };
  }
  return { newestTimeline };
}

/**
 * Checks that what is held and the server belong to one history, and gives the position to go on from.
 *
 * With `accepted`, the number of the server's timeline, a divergence is taken for intended: what is held beyond the
 * fork is left as the end of its own timeline, and the position is the fork.
 *
 * Throws `TIMELINE_DIVERGED`; for a server in recovery it is retriable, since a standby may be about to catch up.
 */
export function checkDescent(held: Holdings, server: ServerState, accepted?: number): WalPosition | undefined {
  const { position } = held;
  const range = server.lineage.find(({ timeline }) => timeline === position?.timeline);
  const fork = forkOf(held, range, server);
  if (fork === undefined) return position;
  if (accepted === server.timeline && fork.resume !== undefined) return fork.resume.position;
  const hint = server.inRecovery
    ? 'The standby may still catch up; the connection is made anew until it has.'
    : fork.resume === undefined
      ? 'The server lost WAL that it had sent: take a base backup into a repository or cluster name of its own.'
      : `If the failover or restore was intended, run "pgark receive --accept-timeline ${server.timeline}" once.`;
  throw new ArchiveError('TIMELINE_DIVERGED', `${server.host}: ${fork.reason}`, {
    retriable: server.inRecovery,
    hint,
    details: {
      host: server.host,
      timeline: server.timeline,
      ...(position !== undefined && { held_timeline: position.timeline, held_lsn: formatLsn(position.lsn) }),
    },
  });
}

interface Fork {
  readonly reason: string;
  /** That the fork can be accepted, and where the server's history leaves what is held (undefined: it never met it). */
  readonly resume?: { readonly position: WalPosition | undefined };
}

function forkOf(held: Holdings, range: TimelineRange | undefined, server: ServerState): Fork | undefined {
  const { position, newestTimeline } = held;
  const known = server.lineage.some(({ timeline }) => timeline === newestTimeline);
  if (newestTimeline > (position?.timeline ?? 0) && !known) {
    return {
      reason: `timeline ${newestTimeline}, of which WAL is held, is not in the history of timeline ${server.timeline}`,
      resume: { position: position && clamp(position, range, server) },
    };
  }
  if (position === undefined) return undefined;
  const lsn = formatLsn(position.lsn);
  if (range?.end !== undefined && position.lsn > range.end) {
    return {
      reason: `timeline ${position.timeline} ended at ${formatLsn(range.end)} in its history, but WAL up to ${lsn} is held`,
      resume: { position: clamp(position, range, server) },
    };
  }
  if (range?.end === undefined && position.lsn > server.flushLsn) {
    const flush = formatLsn(server.flushLsn);
    return { reason: `the server's WAL ends at ${flush} on timeline ${server.timeline}, but WAL up to ${lsn} is held` };
  }
  return undefined;
}

/** The position itself, or the fork on the timeline that follows when the position lies behind it. */
function clamp(position: WalPosition, range: TimelineRange | undefined, server: ServerState): WalPosition {
  if (range?.end === undefined || position.lsn <= range.end) return position;
  const next = server.lineage[server.lineage.indexOf(range) + 1];
  return { timeline: next?.timeline ?? server.timeline, lsn: segmentStart(range.end, server.segmentSize) };
}

/**
 * How far a position on one timeline is part of the server's history: what a new primary lacks of an old timeline does not
 * count on the next one. Undefined when its timeline is no ancestor of the server's.
 */
export function agreedUpTo(position: WalPosition, server: ServerState): bigint | undefined {
  const range = server.lineage.find(({ timeline }) => timeline === position.timeline);
  if (range === undefined) return undefined;
  const limit = range.end ?? server.flushLsn;
  return position.lsn < limit ? position.lsn : limit;
}

/** The position before which all is durable for a stream that begins at `position`, as far as the server's history agrees with it. */
export function durableFrom(position: WalPosition, reached: WalPosition | undefined, server: ServerState): bigint {
  const durable = (reached && agreedUpTo(reached, server)) ?? position.lsn;
  return durable > position.lsn ? durable : position.lsn;
}

/**
 * Compares the last byte that was received in this run, exact where {@link checkDescent} knows only segments, with the
 * server's history. Gives what to say, and what of it is left, when a new primary lacks the end of it: its open segment
 * begins before the fork, so that nothing stands in the way of the new timeline.
 *
 * Throws `TIMELINE_DIVERGED` when a primary lacks what it had sent itself.
 */
export function leftBehind(
  reached: WalPosition,
  server: ServerState,
): { readonly message: string; readonly reached: WalPosition } | undefined {
  const { timeline, lsn } = reached;
  const range = server.lineage.find((range) => range.timeline === timeline);
  if (range === undefined) return undefined;
  if (range.end === undefined) {
    if (server.inRecovery || lsn <= server.flushLsn) return undefined;
    const [flush, sent] = [formatLsn(server.flushLsn), formatLsn(lsn)];
    throw new ArchiveError(
      'TIMELINE_DIVERGED',
      `${server.host}: the server's WAL ends at ${flush}, but it had sent ${sent}`,
    );
  }
  if (lsn <= range.end) return undefined;
  const end = formatLsn(range.end);
  return {
    message: `timeline ${timeline} was received up to ${formatLsn(lsn)}, but the new primary left it at ${end}; the rest is kept as the end of that timeline`,
    reached: { timeline, lsn: range.end },
  };
}

/** Where a stream begins when nothing is held: at the slot's reservation, or with the server's present segment. */
export function firstPosition(slot: SlotState, server: ServerState): WalPosition {
  return slot.state === 'reserved'
    ? { timeline: slot.restartTimeline, lsn: segmentStart(slot.restartLsn, server.segmentSize) }
    : { timeline: server.timeline, lsn: segmentStart(server.flushLsn, server.segmentSize) };
}

/** Whether `a` lies before `b` in a line of descent. */
export function precedes(a: WalPosition, b: WalPosition, lineage: readonly TimelineRange[]): boolean {
  if (a.timeline === b.timeline) return a.lsn < b.lsn;
  const index = (timeline: number): number => lineage.findIndex((range) => range.timeline === timeline);
  return index(a.timeline) < index(b.timeline);
}
