/** What a scheduler knows of the runs of one job, in memory. */
import type { JobConfig } from '../config/config.ts';
import { Moments } from './moments.ts';
import type { JobView } from './decide.ts';

/** Milliseconds in a moment of a cron expression: what is at no whole second is none. */
const SECOND = 1000;

/** Moments that are remembered: a clock is not put back further than this many. */
const MOST = 10_000;

/** The moment of the cron expression that a run is of. */
export function momentOf(planned: number): number {
  return planned - (planned % SECOND);
}

export class JobLedger {
  readonly job: JobConfig;
  readonly moments: Moments;
  #recorded = new Set<number>();
  #from: number;
  #interrupted: JobView['interrupted'];

  /** Its moments count from `from` on. */
  constructor(job: JobConfig, cluster: string, from: number) {
    this.job = job;
    this.moments = new Moments(job, cluster);
    this.#from = from;
  }

  /** Moments after this one count, unless it lies in the future: a clock was wrong then. Epoch milliseconds. */
  begin(from: number): void {
    this.#from = from;
  }

  /** These moments are on record. Those at no whole second are none of the expression. */
  add(planned: readonly number[]): void {
    for (const at of planned) if (at % SECOND === 0) this.#recorded.add(at);
    if (this.#recorded.size <= MOST) return;
    this.#recorded = new Set([...this.#recorded].sort((one, other) => one - other).slice(-MOST / 2));
  }

  /** A run of the job was interrupted; its moment may be tried once more while it is the newest. */
  interrupted(id: string, planned: number): void {
    const moment = momentOf(planned);
    if ([...this.#recorded].some((at) => at > moment)) return;
    this.#interrupted = { id, moment, tries: (planned % SECOND) + 1 };
  }

  /** A run of it has begun: what was interrupted before is none of its concern any more. */
  begun(planned: number): void {
    this.#interrupted = undefined;
    this.add([planned]);
  }

  view(now: number): JobView {
    // A clock that was ahead has left a future in which nothing counts; what is on record from then is not run again.
    if (this.#from > now) this.#from = now;
    let from = this.#from;
    for (const at of this.#recorded) if (at <= now && at > from) from = at;
    return {
      job: this.job,
      moments: this.moments,
      from,
      isRecorded: (moment) => this.#recorded.has(moment),
      ...(this.#interrupted === undefined ? {} : { interrupted: this.#interrupted }),
    };
  }
}
