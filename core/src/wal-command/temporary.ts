/** Where a WAL file is written before it has its own name. Loads nothing but built-in modules: the client of the agent needs it. */
import { readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

let made = 0;

/**
 * A name beside `path` that nobody else writes to; what others have there is removed. A command may go on after the PostgreSQL that ran
 * it was killed, or after its time was over, beside the command of the next one: it must neither write into the file of that one nor
 * give its own the name that is read.
 */
export function temporaryFor(path: string): string {
  const prefix = `${basename(path)}.fetch.`;
  try {
    for (const name of readdirSync(dirname(path)))
      if (name.startsWith(prefix)) rmSync(join(dirname(path), name), { force: true });
  } catch {
    // The folder takes no file either then, and whoever writes it says so.
  }
  made += 1;
  return join(dirname(path), `${prefix}${process.pid}.${made}`);
}
