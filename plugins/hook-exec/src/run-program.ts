import { spawn, type ChildProcess } from 'node:child_process';
import { ArchiveError, errnoOf } from '@pgark/sdk';

export interface ProgramOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** Its working directory. */
  readonly directory: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** What it can read from its standard input. It may leave it unread. */
  readonly input: string;
  readonly signal: AbortSignal;
}

export interface ProgramEnd {
  /** Undefined when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** The end of what it wrote to standard output and standard error, at most 8 KiB. */
  readonly output: string;
}

const MOST_OUTPUT = 8192;

/** Milliseconds in which what the program wrote last is read, should something that it left running keep its output open. */
const LAST_WORDS = 500;

/**
 * Runs a program without a shell, in a process group of its own, and waits for its end. When the signal fires the whole group is killed, at once
 * and not to be ignored. What it starts in the background and leaves behind goes on, but is not listened to.
 *
 * Errors: `HOOK_FAILED` when it cannot be started and when the signal fires.
 */
export function runProgram(options: ProgramOptions): Promise<ProgramEnd> {
  const { program, args, directory, env, input, signal } = options;
  if (signal.aborted) return Promise.reject(cancelled(program, signal));
  return new Promise((resolve, reject) => {
    // Throws for what the system refuses at once, such as arguments that are too long; the rest comes as an event.
    const child = started(() =>
      spawn(program, args, { cwd: directory, env, detached: true, shell: false, stdio: 'pipe' }),
    );
    const streams = [child.stdin, child.stdout, child.stderr];
    const output = tailOf(child);
    let isSettled = false;
    let lastWords: NodeJS.Timeout | undefined;
    const letGo = (): void => {
      for (const stream of streams) stream.destroy();
    };
    const settle = (): void => {
      isSettled = true;
      signal.removeEventListener('abort', kill);
      clearTimeout(lastWords);
      letGo();
    };
    const kill = (): void => {
      killGroup(child);
      settle();
      reject(cancelled(program, signal));
    };
    signal.addEventListener('abort', kill);
    child.on('error', (error) => {
      settle();
      reject(notStarted(program, error));
    });
    child.on('exit', () => {
      if (!isSettled) lastWords = setTimeout(letGo, LAST_WORDS);
    });
    child.on('close', (exitCode, endedBy) => {
      settle();
      resolve({ exitCode: exitCode ?? undefined, signal: endedBy ?? undefined, output: output() });
    });
    // A program that does not read what it is told closes the pipe: that is no failure.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });

  function started<Child>(start: () => Child): Child {
    try {
      return start();
    } catch (error) {
      throw notStarted(program, error);
    }
  }
}

/** Reads all that the child writes, so that it never waits, and keeps the end. */
function tailOf(child: ChildProcess): () => string {
  let tail: Buffer = Buffer.alloc(0);
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      const joined = Buffer.concat([tail, chunk]);
      // A copy: a view would keep what is cut off.
      tail = joined.length > MOST_OUTPUT ? Buffer.from(joined.subarray(joined.length - MOST_OUTPUT)) : joined;
    });
    stream?.on('error', () => undefined);
  }
  return () => printable(tail.toString());
}

/** Without what would colour a terminal or move its cursor. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '');
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended by itself, or has become another user: there is nothing more that could be done.
  }
}

function cancelled(program: string, signal: AbortSignal): ArchiveError {
  return new ArchiveError('HOOK_FAILED', `program ${program} was killed: the delivery was cancelled`, {
    cause: signal.reason,
  });
}

function notStarted(program: string, error: unknown): ArchiveError {
  return new ArchiveError('HOOK_FAILED', `program ${program} cannot be run: ${errnoOf(error) ?? String(error)}`, {
    cause: error,
    hint: 'Check that the file is there and executable for the user of pgark, and so is what its first line names.',
  });
}
