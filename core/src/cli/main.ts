/** The command line: parse, run, report, exit code. */
import { CommanderError, type Command } from 'commander';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { collectLessOften } from './collector.ts';
import { survived } from './faults.ts';
import { Output } from './output.ts';
import { createProgram } from './program.ts';
import { exitCodeOf, toArchiveError } from './run.ts';

/** Runs the command that `argv` (as in `process.argv`) names and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  collectLessOften();
  const program = createProgram();
  const args = argv.slice(2);
  const fail = (error: ArchiveError): never => {
    report(args, error);
    process.exit(exitCodeOf(program, args, error));
  };
  // Node's own exit code for a fault is 1, which PostgreSQL would take for an answer of the archive.
  const fault = (error: unknown): void => {
    if (!survived(error)) fail(toArchiveError(error));
  };
  process.on('uncaughtException', fault);
  process.on('unhandledRejection', fault);
  // Nothing is left that could go on, and the work has not ended: a promise was forgotten, by a plugin for instance. Node would exit with 0.
  process.on('beforeExit', () =>
    fail(new ArchiveError('INTERNAL', 'the command stopped before its end: what it waits for will never come')),
  );
  process.exitCode = 0;
  // The reader of a pipe may have seen enough.
  process.stdout.on('error', (error) => (errnoOf(error) === 'EPIPE' ? process.exit() : fail(toArchiveError(error))));
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (!(error instanceof CommanderError)) return fail(toArchiveError(error));
    if (error.exitCode !== 0) return fail(usage(program, args, error));
  }
  await flushed(process.stdout);
  await flushed(process.stderr);
  process.exit();
}

function report(args: readonly string[], error: ArchiveError): void {
  new Output({ json: args.includes('--json') }).error(error);
  const cause = error.cause ?? error;
  const unexpected = error.code === 'INTERNAL' || args.join(' ').includes('--log-level debug');
  if (unexpected && cause instanceof Error && cause.stack !== undefined) process.stderr.write(`${cause.stack}\n`);
}

function usage(program: Command, args: readonly string[], error: CommanderError): ArchiveError {
  const command = program.commands.find((known) => args.includes(known.name()));
  const hint = `Run "pgark ${command === undefined ? '' : `${command.name()} `}--help".`;
  const help = error.code === 'commander.help';
  const message = help
    ? 'no command was given'
    : error.message
        .replace(/^error: /, '')
        .replaceAll('\n', ' ')
        .trim();
  return new ArchiveError('USAGE', message, { hint, cause: error });
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => void stream.write('', () => resolve()));
}
