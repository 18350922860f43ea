/** When a job is due. Pure. */
import { createHash } from 'node:crypto';
import { Cron } from 'croner';
import type { JobConfig } from '../config/config.ts';

/** Of a job, what its moments depend on. */
export type MomentsOf = Pick<JobConfig, 'name' | 'at' | 'timeZone' | 'jitter' | 'window'>;

/** A time from one moment to the next; without one there is none. */
interface Between {
  readonly last?: number;
  readonly next?: number;
}

/** Such times that are remembered. */
const MOST_KNOWN = 4;

/** Values of 48 bits. */
const CHANCES = 2 ** 48;

/**
 * The moments of a cron expression, epoch milliseconds, whole seconds. Where a clock is put forward, a fixed time that does not exist comes an
 * hour later; where it is put back, one that exists twice comes once, and `*` and steps go on by the hour.
 */
export class Moments {
  readonly #job: MomentsOf;
  readonly #cluster: string;
  readonly #cron: Cron;
  #known: readonly Between[] = [];

  /** The name of the cluster makes the jitter of many clusters differ. */
  constructor(job: MomentsOf, cluster: string) {
    this.#job = job;
    this.#cluster = cluster;
    this.#cron = new Cron(job.at, { paused: true, timezone: job.timeZone });
  }

  /** The first moment after a time; undefined when there is none. */
  next(time: number): number | undefined {
    return this.#around(time).next;
  }

  /** The last moment up to and with a time; undefined when there is none. */
  last(time: number): number | undefined {
    return this.#around(time).last;
  }

  /** Both stay the same from one moment to the next, for which they are asked again and again. */
  #around(time: number): Between {
    const known = this.#known.find(({ last = -Infinity, next = Infinity }) => last <= time && time < next);
    if (known !== undefined) return known;
    const next = this.#cron.nextRun(new Date(time))?.getTime();
    // Who goes on from moment to moment spares the search backwards, which takes longer.
    const isNext = this.#known.some((between) => between.next === time);
    const last = isNext ? time : this.#cron.previousRuns(1, new Date(time + 1))[0]?.getTime();
    const found = { ...(last === undefined ? {} : { last }), ...(next === undefined ? {} : { next }) };
    this.#known = [found, ...this.#known.slice(0, MOST_KNOWN - 1)];
    return found;
  }

  /**
   * When the run of a moment begins: later by its jitter, which depends on nothing else and so is the same after a restart. It is never so
   * late that the next moment has come.
   */
  begin(moment: number): number {
    const { jitter } = this.#job;
    if (jitter === 0) return moment;
    const next = this.next(moment);
    const most = next === undefined ? jitter : Math.min(jitter, next - moment);
    return moment + Math.floor(this.#chance(moment) * most);
  }

  /** Up to when it may still begin. */
  deadline(moment: number): number {
    const { window } = this.#job;
    if (window !== undefined) return this.begin(moment) + window;
    const next = this.next(moment);
    return next === undefined ? Number.POSITIVE_INFINITY : this.begin(next) - 1;
  }

  /** The last moment whose run may begin by now, jitter and all. */
  lastDue(now: number): number | undefined {
    const last = this.last(now);
    if (last === undefined || this.begin(last) <= now) return last;
    // Its own begin is before the next moment, which is past.
    return this.last(last - 1);
  }

  /** When a run begins next, after now. */
  nextBegin(now: number): number | undefined {
    const last = this.last(now);
    if (last !== undefined && this.begin(last) > now) return this.begin(last);
    const next = this.next(now);
    return next === undefined ? undefined : this.begin(next);
  }

  /** From 0 up to, not including, 1; always the same for one moment of one job. */
  #chance(moment: number): number {
    const text = `${this.#cluster}\n${this.#job.name}\n${moment}`;
    return createHash('sha256').update(text).digest().readUIntBE(0, 6) / CHANCES;
  }
}
