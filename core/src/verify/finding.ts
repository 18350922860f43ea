/** What a verification finds. All of it is plain JSON, as the fact of its result holds it. */
import type { ErrorCode } from '../contracts/errors.ts';

/**
 * How much is looked at. `chain`: listings, records and histories; `sample`: beside it some of the objects are read; `full`: all of them.
 */
export type VerifyLevel = 'chain' | 'sample' | 'full';

/**
 * `missing`: the storage answered that it is not there. `damaged`: its stored bytes are not those that were stored. `invalid`: they are, or
 * nothing says that they are not, but what they hold is wrong: so it was written. `conflict`: one name, several contents. `unreadable`: no key at hand
 * opens it, although the keys do open what was written before and after it.
 */
export type Problem = 'missing' | 'damaged' | 'invalid' | 'conflict' | 'unreadable';

/** What cannot be restored for want of an object. Nothing in it: nothing that is needed was lost. */
export interface Unrestorable {
  /** Backups that cannot be restored at all. */
  readonly backups: readonly string[];
  /**
   * Moments that no backup from before can be rolled forward to: all from this position on, on this timeline and on those that branch off it
   * later. A backup that was taken behind it leads on.
   */
  readonly wal?: { readonly timeline: number; readonly from: string };
  /** Timelines that backups of earlier timelines do not lead to. */
  readonly timelines?: readonly number[];
}

export interface Finding {
  /** Of the object; for one that is missing, up to where the digest would begin. */
  readonly key: string;
  readonly problem: Problem;
  /** Of a stretch of missing segments, which begins with the one of the key: the name of the last, and how long they are. */
  readonly stretch?: { readonly last: string; readonly segmentSize: number };
  /** What is wrong, with the name of the object. */
  readonly message: string;
  readonly unrestorable: Unrestorable;
  /** The repository from which a good copy was put in its place, and read back. */
  readonly healedFrom?: string;
}

/** An object of which nothing is known, neither that it is whole nor that it is not. */
export interface Skipped {
  readonly key: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** Backups that need it. */
  readonly backups: readonly string[];
}

/** Nothing is lost with it. */
export const NOTHING: Unrestorable = { backups: [] };

/** In words: `backup X; every moment from 0/5000000 on ...`. */
export function describeUnrestorable({ backups, wal, timelines = [] }: Unrestorable): string {
  const [first, ...others] = backups;
  const parts = [
    ...(first === undefined
      ? []
      : [others.length === 0 ? `backup ${first}` : `${backups.length} backups, ${first} among them`]),
    ...(wal === undefined
      ? []
      : [`every moment from ${wal.from} on, on timeline ${wal.timeline}, for backups that began before it`]),
    ...timelines.map((timeline) => `timeline ${timeline}, for backups of the timelines before it`),
  ];
  return parts.length === 0 ? 'nothing' : parts.join('; ');
}
