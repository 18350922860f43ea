/**
 * Who may put a file at a path. `%p` is `pg_wal/RECOVERYXLOG` for every segment, and a `restore_command` may outlive the server that started
 * it, so that two may be at it at the same time. Loads built-in modules only: the client of the agent needs it.
 */
import { closeSync, existsSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** The right of one command to put a file at a path; it ends when a later one takes it. */
export interface Turn {
  /** A name beside the path for a file that is on its way there, another one at each call. */
  temporary(): string;
  /** Whether a later command has taken it. */
  isLost(): boolean;
  /** Gives a file of this turn the name of the path. Throws what the file system says: what a later command has removed is not there. */
  put(temporary: string): void;
  /** Removes all that the turn has left. */
  end(): void;
}

/** What stands between the path and what tells turns apart: the process, and something random. */
const MARK = '.pgark-';
const PROCESS = /\.pgark-(\d+)-/;

/**
 * Takes the turn from every command that began earlier, whose files at this path it removes, and with them those that killed processes of
 * this host have left in the folder. A folder that cannot be written is no failure yet: there may be nothing to put there.
 */
export function takeTurn(path: string): Turn {
  const folder = dirname(path);
  const prefix = basename(path) + MARK;
  const own = `${prefix}${process.pid}-${Math.random().toString(36).slice(2)}`;
  const claim = join(folder, own);
  let files = 0;
  const isTaken = tryTo(() => closeSync(openSync(claim, 'wx', 0o600)));
  tryTo(() => {
    // Until none is left: what an earlier command makes after this look finds its claim gone.
    const others = (): readonly string[] =>
      readdirSync(folder).filter((name) => !name.startsWith(own) && (name.startsWith(prefix) || isLeftOver(name)));
    for (let names = others(); names.length > 0; names = others())
      for (const name of names) rmSync(join(folder, name), { force: true });
  });
  const isLost = (): boolean => isTaken && !existsSync(claim);
  return {
    temporary: () => `${claim}.${++files}`,
    isLost,
    put: (temporary) => {
      // It may have been made after the later command has looked.
      if (isLost()) rmSync(temporary, { force: true });
      renameSync(temporary, path);
    },
    end: () => {
      for (let file = 1; file <= files; file++) tryTo(() => rmSync(`${claim}.${file}`, { force: true }));
      tryTo(() => rmSync(claim, { force: true }));
    },
  };
}

/** Whether a file belongs to the turn of a process that is no more. */
function isLeftOver(name: string): boolean {
  const pid = Number(PROCESS.exec(name)?.[1] ?? 0);
  if (pid === 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Whether it worked. What did not is met again by whoever writes the file, who has words for it. */
function tryTo(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
