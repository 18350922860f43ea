/** SIGINT and SIGTERM: the first asks the command to stop, the second ends the process at once. */
import { ArchiveError } from '../contracts/errors.ts';

let controller: AbortController | undefined;

/** A signal that fires when the process is asked to stop. The handlers are installed at the first call. */
export function interruptSignal(): AbortSignal {
  if (controller !== undefined) return controller.signal;
  controller = new AbortController();
  const { signal } = controller;
  for (const [name, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.on(name, () => {
      if (signal.aborted) process.exit(code);
      controller?.abort(new ArchiveError('ABORTED', `interrupted by ${name}`));
    });
  }
  return signal;
}
