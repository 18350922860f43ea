/** What every command has in common: its context, and what its failure does. */
import type { Command } from 'commander';
import type { Archive } from '../archive/archive.ts';
import type { Config, LogLevel } from '../config/config.ts';
import type { LoadedConfig } from '../config/load.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { interruptSignal } from './interrupt.ts';
import { createLogger } from './log.ts';
import { Output } from './output.ts';

/** The options that every command takes. */
interface GlobalOptions {
  readonly config?: string;
  readonly cluster?: string;
  readonly json?: boolean;
  readonly logLevel?: LogLevel;
}

/** What a command gets that needs no config. */
export interface PlainContext {
  readonly globals: GlobalOptions;
  readonly output: Output;
  readonly logger: Logger;
  /** Fires at SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly env: NodeJS.ProcessEnv;
  /** The current folder. */
  readonly directory: string;
}

/** What a command gets that works with a config. */
export interface CommandContext extends PlainContext {
  readonly config: Config;
  readonly loaded: LoadedConfig;
  /** Opens the archive at the first call; it is closed when the command ends. */
  readonly archive: () => Promise<Archive>;
}

/** A handler's number is the exit code; nothing is 0. */
type Handler<Context> = (context: Context) => Promise<number | void>;

/** Runs a command that needs no config, such as `init`. */
export async function runPlain(command: Command, handler: Handler<PlainContext>): Promise<void> {
  process.exitCode = (await handler(await plainContext(command))) ?? 0;
}

/** Loads the config, runs the command and closes what it opened. Errors: those of `loadConfig` and of the handler. */
export async function runCommand(command: Command, handler: Handler<CommandContext>): Promise<void> {
  const { loadConfig } = await import('../config/load.ts');
  const globals: GlobalOptions = command.optsWithGlobals();
  const { env } = process;
  const loaded = await loadConfig({ path: globals.config, cluster: globals.cluster, env, directory: process.cwd() });
  const context = await plainContext(command, loaded.config);
  let archive: Promise<Archive> | undefined;
  const open = async (): Promise<Archive> => {
    const [{ openArchive }, { ownCommand }] = await Promise.all([
      import('../archive/open.ts'),
      import('./own-command.ts'),
    ]);
    const { logger, signal } = context;
    return openArchive({ config: loaded, command: ownCommand(), logger, signal });
  };
  try {
    process.exitCode =
      (await handler({ ...context, config: loaded.config, loaded, archive: () => (archive ??= open()) })) ?? 0;
  } finally {
    context.output.progressDone();
    // The handler has had the error of an archive that could not be opened.
    await archive?.then((opened) => closeInTime(() => opened.close(), context.logger)).catch(() => undefined);
  }
}

/** Milliseconds: the work is done, and the process ends anyway. */
const CLOSE_TIME = 10_000;

async function closeInTime(close: () => Promise<void>, logger: Logger): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new ArchiveError('INTERNAL', `closing the archive took more than ${CLOSE_TIME / 1000} s`);
    timer = setTimeout(() => reject(error), CLOSE_TIME);
  });
  try {
    await Promise.race([close(), late]);
  } catch (error) {
    logger.warn({ error }, 'the archive was not closed cleanly');
  } finally {
    clearTimeout(timer);
  }
}

async function plainContext(command: Command, config?: Config): Promise<PlainContext> {
  const globals: GlobalOptions = command.optsWithGlobals();
  const output = new Output({ json: globals.json === true });
  const format = config?.log.format ?? 'auto';
  const logger = await createLogger({
    level: globals.logLevel ?? config?.log.level ?? 'info',
    format: format === 'auto' ? (output.isJson ? 'json' : 'pretty') : format,
    times: !output.isTerminal,
    write: (text) => output.write(text),
  });
  return { globals, output, logger, signal: interruptSignal(), env: process.env, directory: process.cwd() };
}

type ExitCode = (error: ArchiveError) => number;
const exitCodes = new WeakMap<Command, ExitCode>();

/**
 * Gives a command exit codes of its own for failures, in place of those of the error table: for commands that PostgreSQL
 * runs, where a code has a meaning. It holds for wrong usage and faults of the program too.
 */
export function failWith(command: Command, exitCode: ExitCode): void {
  exitCodes.set(command, exitCode);
}

/** The exit code of a failed run: the first argument that names a command says whose rule holds, even if it was never reached. */
export function exitCodeOf(program: Command, args: readonly string[], error: ArchiveError): number {
  const named = args.map((arg) => program.commands.find((command) => command.name() === arg)).find(Boolean);
  const own = args
    .map((arg) => program.commands.find((command) => command.name() === arg && exitCodes.has(command)))
    .find(Boolean);
  const command = own ?? named;
  return (command && exitCodes.get(command))?.(error) ?? error.exitCode;
}

/** Any thrown value as an {@link ArchiveError}: what is none already is a fault of the program. */
export function toArchiveError(error: unknown): ArchiveError {
  if (isArchiveError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ArchiveError('INTERNAL', `unexpected failure: ${message}`, { cause: error });
}
