import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Owner } from './owner.ts';
import { restoreError } from './restore-error.ts';

export interface TryOptions extends CallOptions {
  /** The data directory, in which a server runs its commands. */
  readonly directory: string;
  /** As whom the server will run; undefined for the present user. */
  readonly owner: Owner | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/** The exit code that says that there is no such file. */
const MISS = 1;
/** An answer is wanted now, not after the minute for which a recovery tries. */
const IMPATIENT = { PGARK_RESTORE_WAL_RETRY: '2s' };
/** Milliseconds in which a command that is told to end can do so. */
const GRACE = 2000;
/** Becomes another user with all of that user's groups, which Node leaves out. */
const SETPRIV = '/usr/bin/setpriv';

function asUser({ uid, gid }: Owner): readonly [string, ...string[]] {
  return [SETPRIV, `--reuid=${uid}`, `--regid=${gid}`, '--init-groups', '--'];
}

/** Characters of the command's messages that an error shows. */
const SHOWN = 500;

/**
 * Runs a `restore_command` as the server would: the same shell, folder and user. `known` must be fetched; for `next`, the segment
 * after the last one that is known, an answer is enough. After an abort neither of them runs any more. Errors: `RESTORE_FAILED` with what the
 * command said, `ABORTED`.
 */
export async function tryCommand(
  command: string,
  { known, next }: { readonly known: string; readonly next: string },
  options: TryOptions,
): Promise<void> {
  const runs = [run(command, known, options), run(command, next, options)] as const;
  await Promise.allSettled(runs); // an error of one leaves none behind
  const [fetched, asked] = await Promise.all(runs);
  const failed = fetched.code !== 0 ? fetched : asked.code !== 0 && asked.code !== MISS ? asked : undefined;
  if (failed === undefined) return;
  const { name, code, said } = failed;
  throw new ArchiveError(
    'RESTORE_FAILED',
    `the restore_command does not fetch ${name}: exit code ${code}: ${said.trim()}`,
    {
      hint: 'The user of the server must be able to read the config, its key files, the spool if there is one, the program and the storage. Fix that and run the same command again; it resumes.',
      details: { command },
    },
  );
}

interface Ran {
  readonly name: string;
  readonly code: number | null;
  /** The end of what it wrote to stderr. */
  readonly said: string;
}

async function run(command: string, name: string, options: TryOptions): Promise<Ran> {
  const { directory, owner, env, signal } = options;
  const place = `pgark-restore.${name}`;
  const places: Readonly<Record<string, string>> = { '%f': name, '%p': place, '%%': '%' };
  const line = command.replaceAll(/%[fp%]/g, (placeholder) => places[placeholder] ?? placeholder);
  let said = '';
  try {
    throwIfAborted(signal, 'the restore');
    const shell = ['/bin/sh', '-c', line] as const;
    const [program, ...args] = owner === undefined || !existsSync(SETPRIV) ? shell : [...asUser(owner), ...shell];
    const child = spawn(program, args, {
      cwd: directory,
      env: { ...env, ...IMPATIENT },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true, // with a process group of its own, which can be ended
      ...(owner === undefined || program === SETPRIV ? {} : { uid: owner.uid, gid: owner.gid }),
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-SHOWN)));
    const code = await ended(child, signal);
    throwIfAborted(signal, 'the restore');
    return { name, code, said };
  } catch (error) {
    throwIfAborted(signal, 'the restore');
    throw restoreError(error, 'running the restore_command');
  } finally {
    await rm(join(directory, place), { force: true });
  }
}

/** Waits until a program and all that it started have ended, and makes them end when the signal fires. Gives the exit code. */
async function ended(child: ChildProcess, signal: AbortSignal | undefined): Promise<number | null> {
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    kill(child, 'SIGTERM');
    timer = setTimeout(() => kill(child, 'SIGKILL'), GRACE);
  };
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return code;
  } finally {
    signal?.removeEventListener('abort', stop);
    clearTimeout(timer);
  }
}

/** The shell may have started the command as a process of its own: its whole group is told. */
function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // It has ended already.
  }
}
