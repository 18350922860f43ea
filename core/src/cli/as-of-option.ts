/** The option `--as-of` of the commands that read. */
import { Option } from 'commander';
import { parseMoment } from '../restore/time-text.ts';

export function asOfOption(): Option {
  return new Option(
    '--as-of <time>',
    'read a storage with versions as it was at a moment: "2026-11-21 06:00:00+02", "2 days ago"',
  ).argParser(parseAsOf);
}

/** The moment, to the millisecond. Errors: `USAGE`. */
function parseAsOf(text: string): Date {
  return new Date(Number(parseMoment(text) / 1000n));
}

/** What the flag means for opening the archive. */
export function pastOf({ asOf }: { readonly asOf?: Date }): { readonly asOf?: Date } {
  return asOf === undefined ? {} : { asOf };
}
