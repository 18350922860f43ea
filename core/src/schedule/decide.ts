/** Which runs begin now, which never will, and when to look again. Pure: all that the scheduler does by itself is decided here. */
import type { JobConfig } from '../config/config.ts';
import type { Moments } from './moments.ts';
import type { JobKind, Trigger } from './run.ts';

/** What is known of a job. Times in epoch milliseconds. */
export interface JobView {
  readonly job: JobConfig;
  readonly moments: Moments;
  /** Its moments after this one count: when it was seen first, or the last one that is on record. */
  readonly from: number;
  /** Whether a moment is on record, so that it is not run again. */
  readonly isRecorded: (moment: number) => boolean;
  /** A run that was interrupted, and how often its moment was tried. */
  readonly interrupted?: { readonly id: string; readonly moment: number; readonly tries: number };
}

export interface Skip {
  readonly view: JobView;
  /** Of moments that were missed one after the other, the first and the last one. */
  readonly first: number;
  readonly last: number;
  /** How many there are, at most {@link MOST_MISSED}. */
  readonly count: number;
  /** `away`: nobody could run it; `busy`: something else ran, or it could not be put on record. */
  readonly reason: 'away' | 'busy';
}

export interface Begin {
  readonly view: JobView;
  readonly planned: number;
  readonly trigger: Exclude<Trigger, 'request'>;
  readonly repeats?: string;
}

export interface Decision {
  /** To be put on record before anything begins. */
  readonly skips: readonly Skip[];
  readonly begins: readonly Begin[];
  /** When there is something to decide again, if nothing happens before; undefined: never. */
  readonly wake: number | undefined;
}

export interface Situation {
  readonly now: number;
  /** Since when this scheduler can run what is due. */
  readonly since: number;
  /** Kinds that must not begin, by {@link blockedBy}. */
  readonly running: ReadonlySet<JobKind>;
}

/** Missed moments are counted up to here: after a year that of a job which is due every second is a number for nobody. */
export const MOST_MISSED = 1000;

/** How often a moment is tried whose run is interrupted. What takes the daemon down with it must not do so for ever. */
export const MOST_TRIES = 3;

/**
 * Kinds that the archive does not let run beside each other, whoever runs them: what removes objects does so alone. All else is kept apart by
 * its leases.
 */
const EXCLUDES: Readonly<Partial<Record<JobKind, readonly JobKind[]>>> = { expire: ['gc'], gc: ['expire'] };

/** What of the running kinds keeps a kind from beginning; undefined: nothing. */
export function blockedBy(kind: JobKind, running: ReadonlySet<JobKind>): JobKind | undefined {
  return [kind, ...(EXCLUDES[kind] ?? [])].find((other) => running.has(other));
}

/**
 * Of the moments of a job that are due only the last one is run: at most one run catches up with what was missed. What waited longest begins
 * first.
 */
export function decide(views: readonly JobView[], situation: Situation): Decision {
  const { now } = situation;
  const skips: Skip[] = [];
  const due: (Begin & { readonly at: number })[] = [];
  const wakes: number[] = [];
  for (const view of views) {
    const { moments } = view;
    const next = moments.nextBegin(now);
    if (next !== undefined) wakes.push(next);
    const last = moments.lastDue(now);
    const isOpen = last !== undefined && last > view.from && !view.isRecorded(last);
    const isLate = last !== undefined && now > moments.deadline(last);
    const skip = isOpen ? missed(view, isLate ? last + 1 : last, situation) : undefined;
    if (skip !== undefined) skips.push(skip);
    if (isOpen && !isLate) {
      const at = moments.begin(last);
      due.push({ view, planned: last, trigger: at < situation.since ? 'catch-up' : 'schedule', at });
      wakes.push(moments.deadline(last) + 1);
    } else if (!isOpen) due.push(...again(view, now));
  }
  const running = new Set(situation.running);
  const begins: Begin[] = [];
  for (const { at: _, ...begin } of due.toSorted((one, other) => one.at - other.at)) {
    const { do: kind } = begin.view.job;
    if (blockedBy(kind, running) !== undefined) continue;
    running.add(kind);
    begins.push(begin);
  }
  const wake = Math.min(...wakes.filter((time) => time > now));
  return { skips, begins, wake: Number.isFinite(wake) ? wake : undefined };
}

/** What was missed before a time. */
function missed(view: JobView, before: number, { since }: Situation): Skip | undefined {
  const { moments, from } = view;
  const last = moments.last(before - 1);
  if (last === undefined || last <= from || view.isRecorded(last)) return undefined;
  let first: number | undefined;
  let count = 0;
  for (let at = moments.next(from); at !== undefined && at <= last && count < MOST_MISSED; at = moments.next(at)) {
    if (view.isRecorded(at)) continue;
    first ??= at;
    count += 1;
  }
  const reason = moments.begin(last) < since ? 'away' : 'busy';
  return { view, first: first ?? last, last, count, reason };
}

/** The interrupted run of a moment that may still begin, once more. */
function again({ interrupted, ...view }: JobView, now: number): readonly (Begin & { readonly at: number })[] {
  if (interrupted === undefined || interrupted.tries >= MOST_TRIES) return [];
  const { id, moment, tries } = interrupted;
  const { moments } = view;
  // Neither too late nor, after a clock was put back, too early.
  if (now > moments.deadline(moment) || now < moments.begin(moment)) return [];
  // A name of its own on record, and the same whoever does it.
  const begin = { view, planned: moment + tries, trigger: 'catch-up', repeats: id } as const;
  return [{ ...begin, at: moments.begin(moment) }];
}
