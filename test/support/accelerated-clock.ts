import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, type ScheduleClock } from '../../core/src/schedule/clock.ts';

/** A clock that goes faster than that of the host from a moment on (epoch milliseconds), the same in every process. */
export function acceleratedClock(factor: number, from: number): ScheduleClock {
  const now = (): number => Math.floor(from + (Date.now() - from) * factor);
  return {
    now,
    elapsed: () => performance.now() * factor,
    sleep: (milliseconds, signal) => systemClock.sleep(milliseconds / factor, signal),
    sleepUntil: async (time, signal) => {
      while (now() < time && !signal.aborted) {
        const rest = Math.min(1000, Math.max(1, (time - now()) / factor));
        await sleep(rest, undefined, { signal }).catch(() => undefined); // it only ends the wait
      }
    },
  };
}
