/**
 * Faults that nobody has caught. They end a command: it has one piece of work, which is lost. The daemon has many, and goes on: what it has
 * received is on disk and is checked whenever it is read, and a receiver that ends for the fault of something else is the greater harm.
 */
let handler: ((error: unknown) => void) | undefined;

/** From now on faults are given to `take`, and end nothing. */
export function surviveFaults(take: (error: unknown) => void): void {
  handler = take;
}

/** Whether somebody has taken the fault; else it is to end the process. */
export function survived(error: unknown): boolean {
  if (handler === undefined) return false;
  handler(error);
  return true;
}
