/**
 * Looks at one cluster from time to time: never two at once, few clusters at once, and nobody waits for it. What takes a request for each
 * backup is looked at less often, unless it is known to have changed.
 */
import type { Archive } from '../archive/archive.ts';
import { errorOf } from '../archive/telling.ts';
import { ArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { pause } from '../receive/backoff.ts';
import type { Line } from '../storage/line.ts';
import type { Look } from './daemon.ts';

export interface LookerOptions {
  readonly cluster: string;
  readonly archive: Archive;
  /** So many clusters are looked at at once. */
  readonly line: Line;
  /** Milliseconds between two looks. */
  readonly refresh: () => number;
  /** Milliseconds that one may take. */
  readonly deadline: number;
  /** Milliseconds between two looks, at least, when something has changed. */
  readonly soon: number;
  readonly onLook: (look: Look) => void;
  readonly logger: Logger;
}

/** What is seen, and how. */
type Seen = Omit<Look, 'began' | 'ended' | 'failures'>;
type Views = Readonly<Record<'status' | 'backups' | 'runs', (signal: AbortSignal) => Promise<Seen>>>;

export class Looker {
  readonly #options: LookerOptions;
  readonly #stop = new AbortController();
  #latest: Look | undefined;
  #looking: Promise<Look> | undefined;
  /** The look that begins when the one that goes on has ended. */
  #next: Promise<Look> | undefined;
  /** When backups and runs were listed, epoch milliseconds and by `performance.now()`; undefined when they are to be listed anew. */
  #listed: { readonly time: number; readonly elapsed: number } | undefined;
  /** Ends the wait for the next look. */
  #wake = new AbortController();
  /** Ends the look that goes on. */
  #now = new AbortController();
  /** Work of a look that did not end in time: a storage that hangs must not be asked again and again. */
  #late: Promise<void> | undefined;
  #problem = '';

  constructor(options: LookerOptions) {
    this.#options = options;
  }

  get latest(): Look | undefined {
    return this.#latest;
  }

  /** Looks at everything, once what goes on has ended: that may have seen what was before. Never throws. */
  look(): Promise<Look> {
    return (this.#next ??= (async () => {
      await this.#looking;
      this.#next = undefined;
      this.#listed = undefined;
      return this.#begin();
    })());
  }

  /** Backups or runs are not what they were: the next look lists them, and is not far. */
  changed(): void {
    this.#listed = undefined;
    this.soon();
  }

  /** The next look is not far, whenever it was to be. */
  soon(): void {
    this.#wake.abort();
  }

  #begin(): Promise<Look> {
    return (this.#looking ??= this.#look().finally(() => (this.#looking = undefined)));
  }

  begin(): void {
    void this.#keep();
  }

  stop(): void {
    const reason = new ArchiveError('ABORTED', 'the daemon stops');
    this.#stop.abort(reason);
    this.#now.abort(reason);
  }

  async #keep(): Promise<void> {
    const { refresh, soon } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const began = performance.now();
      await this.#begin();
      // Whatever ends one after the other: looks that take their time take a small part of all time.
      const least = Math.max(soon, (performance.now() - began) * REST);
      await pause(Math.min(least, refresh()), signal);
      await pause(Math.max(0, refresh() - least), AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  async #look(): Promise<Look> {
    const { line, cluster, deadline } = this.#options;
    const began = Date.now();
    const failures: ArchiveError[] = [];
    const seen: Seen = {};
    try {
      await line.enter(this.#stop.signal);
    } catch (error) {
      return this.#finish({ began, ended: Date.now(), failures: [errorOf(error)] });
    }
    const tooLong = new ArchiveError('ABORTED', `looking at cluster "${cluster}" took more than ${deadline / 1000} s`, {
      hint: 'Look in the log for what its storage or its server does; the look is tried again.',
    });
    this.#now = new AbortController();
    const { signal } = this.#now;
    const timer = setTimeout(() => this.#now.abort(tooLong), deadline);
    try {
      if (this.#late !== undefined) await unlessAborted(this.#late, signal);
      if (!signal.aborted && !this.#stop.signal.aborted) {
        this.#late = this.#see(seen, failures, signal).finally(() => (this.#late = undefined));
        await unlessAborted(this.#late, signal);
      }
    } finally {
      clearTimeout(timer);
      line.leave();
    }
    // What was to be listed is not: what was seen before must not pass for it at the next look.
    if (signal.aborted) this.#listed = undefined;
    const own = signal.aborted
      ? [...failures.filter(({ code }) => code !== 'ABORTED'), errorOf(signal.reason)]
      : failures;
    return this.#finish({ ...seen, began, ended: Date.now(), failures: own });
  }

  async #see(seen: Seen, failures: ArchiveError[], signal: AbortSignal): Promise<void> {
    const { archive, refresh } = this.#options;
    const now = Date.now();
    const { backups, runs, runsFrom, runsFailure } = this.#latest ?? {};
    const elapsed = performance.now();
    const isFresh = this.#listed !== undefined && elapsed - this.#listed.elapsed < LISTING * refresh();
    const known =
      isFresh && backups?.failures.length === 0 && runs !== undefined
        ? { backups, runs, ...(runsFrom !== undefined && { runsFrom }), ...(runsFailure && { runsFailure }) }
        : undefined;
    // What a list lacks it lacks at each look that shows it.
    if (known?.runsFailure !== undefined) failures.push(known.runsFailure);
    // What changes from now on is for the next look.
    const listed = this.#listed !== undefined && known !== undefined ? this.#listed : { time: now, elapsed };
    this.#listed = listed;
    Object.assign(seen, known, { listed: listed.time });
    const views = Object.entries(viewsOf(archive, failures)).filter(([name]) => !(name in (known ?? {})));
    await Promise.all(
      views.map(async ([, view]) => {
        try {
          Object.assign(seen, await view(signal));
        } catch (error) {
          failures.push(errorOf(error));
          this.#listed = undefined;
        }
      }),
    );
  }

  #finish(look: Look): Look {
    const { onLook, logger } = this.#options;
    // What was listed before is nothing that this look has seen.
    const isOld = look.listed === undefined || look.listed < look.began;
    const sawNothing = look.status === undefined && (isOld || (look.backups === undefined && look.runs === undefined));
    const latest = sawNothing && this.#latest !== undefined ? { ...this.#latest, failures: look.failures } : look;
    this.#latest = latest;
    if (this.#stop.signal.aborted) return latest;
    // One trouble fails in each view, with more or less around it.
    const problem = [...new Map(look.failures.map(({ code, message }) => [code, message])).values()].join('; ');
    if (problem !== this.#problem) {
      if (problem === '') logger.info({}, 'the cluster can be looked at again');
      else logger.warn({ code: look.failures[0]?.code }, `not all of the cluster can be looked at: ${problem}`);
    }
    this.#problem = problem;
    onLook(latest);
    return latest;
  }
}

/** So many looks are made before backups and runs are listed anew that nobody here has changed. */
const LISTING = 10;

/** So many times as long as the last look took nobody looks again, whatever has changed. */
const REST = 4;

/** Runs of each job that are looked at, however often others run. */
const OF_EACH_JOB = 10;

function viewsOf(archive: Archive, failures: ArchiveError[]): Views {
  return {
    status: async (signal) => ({ status: await archive.status({ signal }) }),
    backups: async (signal) => ({ backups: await archive.backups({ signal }) }),
    runs: async (signal) => {
      const { runs, from, failure } = await archive.runs({ signal, ofEachJob: OF_EACH_JOB });
      if (failure !== undefined) failures.push(failure);
      return { runs, ...(from !== undefined && { runsFrom: from }), ...(failure && { runsFailure: failure }) };
    },
  };
}

/** Waits for work that never fails, unless the signal fires first. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let stop = (): void => undefined;
  const aborted = new Promise<void>((resolve) => (stop = resolve));
  signal.addEventListener('abort', stop);
  if (!signal.aborted) await Promise.race([work, aborted]);
  signal.removeEventListener('abort', stop);
}
