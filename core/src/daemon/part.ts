/** Keeps one thing running: what fails is begun anew, later each time. */
import { errorOf } from '../archive/telling.ts';
import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { Backoff, pause, within } from '../receive/backoff.ts';
import type { PartReport } from './daemon.ts';
import type { Pace } from './pace.ts';

/** What a part gets each time that it begins. */
export interface PartRun {
  /** Fires when it is to end. */
  readonly signal: AbortSignal;
  /** It is at work. */
  readonly running: () => void;
}

export interface PartOptions {
  readonly name: PartReport['name'];
  /** Ends when the signal has fired, and not before: else it has failed. */
  readonly run: (run: PartRun) => Promise<void>;
  readonly onReport: (report: PartReport) => void;
  readonly logger: Logger;
  readonly pace: Pace;
}

/** What trying again cannot mend: somebody has to. It is tried all the same, as somebody may have. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set([
  'USAGE',
  'CONFIG_INVALID',
  'CONFIG_NOT_FOUND',
  'SECRET_UNAVAILABLE',
  'PLUGIN_NOT_FOUND',
  'PLUGIN_INCOMPATIBLE',
  'PLUGIN_INVALID',
  'PLUGIN_OPTIONS',
  'STORAGE_UNSUPPORTED',
  'SYSTEM_MISMATCH',
  'TIMELINE_DIVERGED',
  'WAL_GAP',
  'WAL_CONFLICT',
  'SLOT_MISSING',
  'SLOT_INVALIDATED',
  'SPOOL_INVALID',
  'SERVER_AUTH',
  'SERVER_TLS',
  'SERVER_UNSUPPORTED',
]);

export class Part {
  readonly #options: PartOptions;
  readonly #backoff: Backoff;
  readonly #slowly: Backoff;
  readonly #stop = new AbortController();
  #report: PartReport;
  /** Ends what goes on now, the run or the wait after it. */
  #now = new AbortController();
  #done: Promise<void> | undefined;
  #hasEnded = false;
  /** The failure that was said loudly last, and when, by `performance.now()`. */
  #said: { readonly text: string; readonly time: number } | undefined;

  constructor(options: PartOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.pace.restart);
    this.#slowly = new Backoff(options.pace.slowRestart);
    this.#report = { name: options.name, state: 'stopped', since: Date.now(), restarts: 0 };
  }

  get report(): PartReport {
    return this.#report;
  }

  begin(): void {
    this.#done ??= this.#keep();
  }

  /** Begins it anew; what waits for its next try is tried now. */
  renew(): void {
    this.#now.abort();
  }

  /**
   * Ends it, and waits until it has ended, so many milliseconds at most: a server or a storage that hangs must hold up nothing else. What is
   * left behind then is told, and begins no more. Never throws.
   */
  async stop(most: number): Promise<void> {
    this.#stop.abort();
    if (this.#done === undefined) return;
    await within(most, this.#done);
    const { logger, name } = this.#options;
    if (!this.#hasEnded) logger.error({}, `the ${name} has not ended in ${most / 1000} s, and is left behind`);
  }

  async #keep(): Promise<void> {
    const { signal: stopped } = this.#stop;
    const { run, pace } = this.#options;
    for (let restarts = 0; !stopped.aborted; restarts++) {
      this.#now = new AbortController();
      const renewed = this.#now.signal;
      const signal = AbortSignal.any([stopped, renewed]);
      this.#enter({ state: 'starting', restarts });
      const began = performance.now();
      try {
        await run({ signal, running: () => this.#enter({ state: 'running', restarts }) });
        if (!signal.aborted) throw new ArchiveError('INTERNAL', `the ${this.#options.name} ended by itself`);
      } catch (error) {
        const failure = errorOf(error);
        if (signal.aborted && isArchiveError(failure, 'ABORTED')) continue;
        if (stopped.aborted) {
          this.#say(failure, 'did not end in order');
          continue;
        }
        if (performance.now() - began > pace.steady) this.#backoff.reset();
        const wait = renewed.aborted ? 0 : (HOPELESS.has(failure.code) ? this.#slowly : this.#backoff).next();
        this.#enter({ state: 'failed', restarts, error: failure, nextTry: Date.now() + wait });
        this.#say(failure, `has failed, and begins again in ${Math.round(wait / 1000)} s`);
        await pause(wait, signal);
      }
    }
    this.#hasEnded = true;
    this.#enter({ state: 'stopped', restarts: this.#report.restarts });
  }

  /** The error of the last end stays on record while the part begins again. */
  #enter(report: Omit<PartReport, 'name' | 'since'>): void {
    const { error } = this.#report;
    this.#report = { name: this.#options.name, since: Date.now(), ...(error !== undefined && { error }), ...report };
    this.#options.onReport(this.#report);
  }

  /** Loudly, but the same once an hour. */
  #say(failure: ArchiveError, what: string): void {
    const { logger, name, pace } = this.#options;
    const text = `${failure.code} ${failure.message}`;
    const now = performance.now();
    const isOld = this.#said?.text === text && now - this.#said.time < pace.repeat;
    if (!isOld) this.#said = { text, time: now };
    logger[isOld ? 'debug' : 'error'](
      { code: failure.code, hint: failure.hint },
      `the ${name} ${what}: ${failure.message}`,
    );
  }
}
