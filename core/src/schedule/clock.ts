/**
 * The time as the scheduler sees it: tests make a week of an hour. Moments, such as when a job is due, are read from the clock of a host, which
 * may be put forward or back; how long something takes is not.
 */
export interface ScheduleClock {
  /** Epoch milliseconds. */
  now(): number;
  /** Milliseconds since some moment or other; it only goes on, whatever is done to the clock of the host. */
  elapsed(): number;
  /** Resolves after so many milliseconds of {@link elapsed}, or when the signal fires. It never rejects. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
  /**
   * Resolves at a time (epoch milliseconds) or when the signal fires, whichever comes first, and when the clock was put back: the time may be a
   * year away then. It may be late, and never rejects.
   */
  sleepUntil(time: number, signal: AbortSignal): Promise<void>;
}

/** Milliseconds after which the clock is looked at again: it may have been put forward, or the machine may have slept. */
const LONGEST = 20_000;

const LONGEST_TIMER = 86_400_000;

/** The clock of this host. */
export const systemClock: ScheduleClock = {
  now: Date.now,
  elapsed: () => performance.now(),
  sleep: async (milliseconds, signal) => {
    const end = performance.now() + milliseconds;
    // A timer of Node takes no more than 24 days, and may be early by a fraction.
    for (let left = milliseconds; left > 0 && !signal.aborted; left = end - performance.now())
      await pause(Math.min(left, LONGEST_TIMER), signal);
  },
  sleepUntil: async (time, signal) => {
    let before = Date.now();
    for (let now = before; now < time && now >= before && !signal.aborted; now = Date.now()) {
      before = now;
      await pause(Math.min(time - now, LONGEST), signal);
    }
  },
};

/** Waits for so many milliseconds of real time, or until the signal fires. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end, { once: true });
  });
}
