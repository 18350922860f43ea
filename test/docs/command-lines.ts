/** Finds the command lines of pgark in a text, and asks the program whether it would take them. */
import { createProgram } from '../../core/src/cli/program.ts';

type Command = ReturnType<typeof createProgram>;

/** What is wrong with a command line. */
export interface Refusal {
  /** Of commander: `commander.missingArgument`. */
  readonly code: string;
  readonly message: string;
}

/** The arguments of each `pgark ...` in a text of shell commands, settings of PostgreSQL or of systemd. */
export function commandLines(text: string): readonly (readonly string[])[] {
  return text
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .flatMap(inLine);
}

function inLine(line: string): readonly (readonly string[])[] {
  // A line of cron: five fields of time before the command.
  const cron = /^(?:[\d*][\d*,/-]* +){5}(.*)/.exec(line)?.[1];
  if (cron !== undefined) return inLine(cron);
  // archive_command = '...'
  const setting = /^\s*\w+ = '((?:[^']|'')*)'/.exec(line)?.[1];
  if (setting !== undefined) return inLine(setting.replaceAll("''", "'"));
  if (/^\s*#/.test(line)) return [];
  const found: (readonly string[])[] = [];
  const start =
    /(?:^\s*(?:\$ |exec )?|(?:[;&|(]|&&|\|\||=|\$\() *|\b(?:sudo|exec|then|do|-u \w+) )(?:[A-Z_]+=\S* )*(?:\/[\w/.-]*\/)?pgark(?= )/g;
  for (const match of line.matchAll(start)) found.push(words(line.slice(match.index + match[0].length)));
  return found;
}

/** Words as a shell splits them, up to the end of the command. */
export function words(text: string): readonly string[] {
  const found: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    const quoted = /^(?:"((?:[^"\\]|\\.)*)"|'([^']*)')/.exec(text.slice(at));
    if (quoted !== null) {
      word = (word ?? '') + (quoted[1]?.replaceAll(/\\(.)/g, '$1') ?? quoted[2] ?? '');
      at += quoted[0].length - 1;
    } else if (/\s/.test(char)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else if (/[|&;)>]/.test(char) || (char === '#' && word === undefined)) {
      if (char === '>' && /^\d$/.test(word ?? '')) word = undefined; // 2>
      break;
    } else word = (word ?? '') + char;
  }
  if (word !== undefined) found.push(word);
  return found;
}

/** Why the program would not take these arguments; undefined when it would. Nothing is run. */
export function refusal(args: readonly string[]): Refusal | undefined {
  const program = createProgram();
  disarm(program);
  try {
    program.parse([...args], { from: 'user' });
    return undefined;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return error.exitCode === 0 ? undefined : error;
  }
}

/** By its shape: the class is that of core's commander, which another package's may hide here. */
function isRefusal(error: unknown): error is Refusal & { readonly exitCode: number } {
  return error instanceof Error && 'exitCode' in error && 'code' in error;
}

/** Makes a command do and print nothing. */
function disarm(command: Command): void {
  command.configureOutput({ writeOut: () => undefined });
  for (const child of command.commands) {
    if (child.commands.length === 0) child.action(() => undefined);
    disarm(child);
  }
}
