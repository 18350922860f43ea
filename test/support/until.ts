import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for a state, a minute at most; `report` adds to the error what is to be known when it never comes. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  report: () => string = () => '',
): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await holds()); await sleep(10)) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}\n${report()}`);
  }
}
