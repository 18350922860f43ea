import { resolve } from 'node:path';
import { ArchiveError, type ArchiveEvent, type Hook, type HookContext, type PluginContext } from '@pgark/sdk';
import { barmanRuns } from './barman.ts';
import { eventVariables, inherited } from './environment.ts';
import { runProgram, type ProgramEnd } from './run-program.ts';

export interface ExecHookOptions {
  /** The program and its arguments. */
  readonly command: readonly [string, ...string[]];
  readonly mode: 'event' | 'barman';
  /** Names of variables of this process that the program gets beside the few that every program needs. */
  readonly inherit: readonly string[];
}

/** Barman's exit codes for hook scripts; every other one but 0 is a failure that a further try may mend. */
const ABORT_CONTINUE = 62;
const ABORT_STOP = 63;

/**
 * Runs a program for each event, with the event as one line of JSON on its standard input.
 *
 * Exit code 0: delivered. 62: the program has given up and wants no further try; a warning in the log. 63: `HOOK_REJECTED`, which keeps work that
 * asks first from being done. Any other, a signal, or a program that cannot be started: `HOOK_FAILED`.
 */
export class ExecHook implements Hook {
  readonly #options: ExecHookOptions;
  readonly #context: PluginContext;
  readonly #closing = new AbortController();

  constructor(options: ExecHookOptions, context: PluginContext) {
    this.#options = options;
    this.#context = context;
  }

  async handle(event: ArchiveEvent, context: HookContext): Promise<void> {
    const { mode, inherit } = this.#options;
    const signal = AbortSignal.any([context.signal, this.#closing.signal]);
    const env = { ...inherited(process.env, inherit), ...eventVariables(event) };
    for (const variables of mode === 'barman' ? barmanRuns(event) : [{}]) {
      await this.#run({ ...env, ...variables }, event, signal);
    }
  }

  async #run(env: Readonly<Record<string, string>>, event: ArchiveEvent, signal: AbortSignal): Promise<void> {
    const { directory, logger } = this.#context;
    const [name, ...args] = this.#options.command;
    const program = name.includes('/') ? resolve(directory, name) : name;
    const end = await runProgram({
      program,
      args,
      directory,
      env,
      input: `${JSON.stringify(event)}\n`,
      signal,
    });
    const fields = { program, event: event.name, exitCode: end.exitCode, output: end.output };
    if (end.exitCode === 0) logger.debug(fields, `program ${program} was told of ${event.name}`);
    else if (end.exitCode === ABORT_CONTINUE) {
      logger.warn(fields, `program ${program} has given up on ${event.name} (exit code 62)${lastLine(end)}`);
    } else throw failure(program, end);
  }

  /** Kills what is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
  }
}

function failure(program: string, end: ProgramEnd): ArchiveError {
  const details = { exitCode: end.exitCode, signal: end.signal, output: end.output };
  if (end.exitCode === ABORT_STOP) {
    return new ArchiveError('HOOK_REJECTED', `program ${program} refused (exit code 63)${lastLine(end)}`, { details });
  }
  const how =
    end.exitCode === undefined ? `was ended by ${end.signal ?? 'a signal'}` : `ended with exit code ${end.exitCode}`;
  return new ArchiveError('HOOK_FAILED', `program ${program} ${how}${lastLine(end)}`, { details });
}

function lastLine({ output }: ProgramEnd): string {
  const line = output.trimEnd().split('\n').at(-1) ?? '';
  return line === '' ? '' : `: ${line.slice(0, 200)}`;
}
