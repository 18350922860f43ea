import type { ScheduleClock } from '../../src/schedule/clock.ts';

/** A clock that stands still until it is told to go on. */
export class ManualClock implements ScheduleClock {
  #now: number;
  readonly #sleepers = new Set<{ readonly time: number; readonly wake: () => void }>();

  constructor(now: string) {
    this.#now = Date.parse(now);
  }

  readonly now = (): number => this.#now;

  readonly sleepUntil = (time: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (time <= this.#now || signal.aborted) return resolve();
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const sleeper = { time, wake };
      this.#sleepers.add(sleeper);
      signal.addEventListener('abort', wake, { once: true });
    });

  /** Goes on to a time, such as `2026-05-01T03:00:00Z`; back, too, which ends every wait. */
  to(time: string): void {
    const before = this.#now;
    this.#now = Date.parse(time);
    for (const { time: wanted, wake } of this.#sleepers) if (wanted <= this.#now || this.#now < before) wake();
  }
}
