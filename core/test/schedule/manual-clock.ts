import type { ScheduleClock } from '../../src/schedule/clock.ts';

interface Sleeper {
  readonly isOver: (wentBack: boolean) => boolean;
  readonly wake: () => void;
}

/** A clock that stands still until it is told to go on. */
export class ManualClock implements ScheduleClock {
  #now: number;
  #elapsed = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(now: string) {
    this.#now = Date.parse(now);
  }

  readonly now = (): number => this.#now;

  readonly elapsed = (): number => this.#elapsed;

  readonly sleepUntil = (time: number, signal: AbortSignal): Promise<void> =>
    this.#sleep((wentBack) => time <= this.#now || wentBack, signal);

  readonly sleep = (milliseconds: number, signal: AbortSignal): Promise<void> => {
    const end = this.#elapsed + milliseconds;
    return this.#sleep(() => end <= this.#elapsed, signal);
  };

  /** Time goes on to this one, such as `2026-05-01T03:00:00Z`; back, too, which ends every wait for a time. */
  to(time: string): void {
    this.#elapsed += Math.max(0, Date.parse(time) - this.#now);
    this.put(time);
  }

  /** Somebody puts the clock to a time, forward or back: no time goes by. */
  put(time: string): void {
    const wentBack = Date.parse(time) < this.#now;
    this.#now = Date.parse(time);
    for (const { isOver, wake } of this.#sleepers) if (isOver(wentBack)) wake();
  }

  #sleep(isOver: Sleeper['isOver'], signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (isOver(false) || signal.aborted) return resolve();
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const sleeper = { isOver, wake };
      this.#sleepers.add(sleeper);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}
