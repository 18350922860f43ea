/** Text for the shell, inside a setting of PostgreSQL. */
import { ArchiveError } from '../contracts/errors.ts';

/** A command line for `sh -c`, with `%` doubled for PostgreSQL, which replaces `%f` and `%p` in the whole text. */
export function shellCommand(argv: readonly string[], placeholders: readonly string[]): string {
  return [
    ...argv.map((argument) => shellWord(argument).replaceAll('%', '%%')),
    ...placeholders.map((each) => `"${each}"`),
  ].join(' ');
}

/** One argument of a command line for `sh`. */
export function shellWord(text: string): string {
  if (/^[A-Za-z0-9_/.:=@,+-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A value in a configuration file (PostgreSQL source: `guc-file.l`: quotes are doubled, backslashes begin escapes). Errors: `USAGE`. */
export function settingValue(value: string): string {
  if (/[\n\r\0]/.test(value))
    throw new ArchiveError('USAGE', 'a setting of PostgreSQL cannot hold a line break', {
      hint: 'Move the config file or the program to a path without one.',
    });
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
