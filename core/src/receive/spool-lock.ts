import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import { makeShared, writeShared } from './shared-file.ts';

interface Owner {
  readonly pid: number;
  /** When the process began, as its kernel counts, so that a reused pid is not taken for the owner. */
  readonly started: string;
  /** The machine since its boot, or the container. */
  readonly machine: string;
  readonly id: string;
}

/** Milliseconds between signs of life of the owner. */
const SIGN_OF_LIFE = 10_000;
/** A lock of another machine without a sign of life for this long is stale; milliseconds. */
const STALE = 60_000;
const NAME = 'receive.lock';

/**
 * One receiver per spool folder, or one of whatever else is named by the file. The lock of a dead process is taken over: on this machine by looking at the process, on
 * another (a shared volume) by the age of its last sign of life.
 */
export class SpoolLock {
  readonly #path: string;
  readonly #owner: Owner;
  readonly #timer: NodeJS.Timeout;

  private constructor(path: string, owner: Owner) {
    this.#path = path;
    this.#owner = owner;
    this.#timer = setInterval(() => {
      this.#show();
    }, SIGN_OF_LIFE).unref();
  }

  /** Throws `SPOOL_LOCKED`, which names the process, and `SPOOL_UNAVAILABLE`. */
  static acquire(folder: string, name: string = NAME): SpoolLock {
    const path = join(folder, name);
    const owner: Owner = {
      pid: process.pid,
      started: processStart(process.pid) ?? '',
      machine: machine(),
      id: randomUUID(),
    };
    const own = `${path}.${owner.id}`;
    try {
      makeShared(folder);
      // Written beside and linked into place: nobody ever reads a lock that is half written.
      writeShared(own, JSON.stringify(owner));
      try {
        take(path, own, folder);
      } finally {
        rmSync(own, { force: true });
      }
    } catch (error) {
      if (isArchiveError(error)) throw error;
      const text = error instanceof Error ? error.message : String(error);
      throw new ArchiveError('SPOOL_UNAVAILABLE', `cannot use the spool ${folder}: ${text}`, { cause: error });
    }
    return new SpoolLock(path, owner);
  }

  #show(): void {
    const now = new Date();
    try {
      utimesSync(this.#path, now, now);
    } catch {
      return; // a spool that is gone or broken shows in the writes to it, which have somebody to tell
    }
  }

  /** Gives the spool free. */
  release(): void {
    clearInterval(this.#timer);
    if (readOwner(this.#path)?.id === this.#owner.id) rmSync(this.#path, { force: true });
  }
}

function take(path: string, own: string, folder: string): void {
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      linkSync(own, path);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const holder = readOwner(path);
    if (holder === undefined) continue; // gone in the meantime
    if (isAlive(holder, path)) {
      throw new ArchiveError('SPOOL_LOCKED', `process ${holder.pid} uses the spool ${folder}`, {
        details: { pid: holder.pid, folder },
      });
    }
    evict(path, holder);
  }
  throw new ArchiveError('SPOOL_LOCKED', `other processes fight for the spool ${folder}`);
}

/** Takes a stale lock away, unless another process was faster and the lock is no longer the stale one. */
function evict(path: string, holder: Owner): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  if (readOwner(aside)?.id !== holder.id) {
    try {
      linkSync(aside, path);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
  rmSync(aside, { force: true });
}

function readOwner(path: string): Owner | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const owner = JSON.parse(text) as Partial<Owner>;
    return { pid: owner.pid ?? 0, started: owner.started ?? '', machine: owner.machine ?? '', id: owner.id ?? '' };
  } catch {
    // Not one of ours, or emptied by a crash of the machine: as good as one of a dead process of another machine.
    return { pid: 0, started: '', machine: '', id: '' };
  }
}

function isAlive(owner: Owner, path: string): boolean {
  if (owner.machine !== machine()) {
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    return age < STALE;
  }
  const started = processStart(owner.pid);
  if (started !== undefined) return started === owner.started;
  if (process.platform === 'linux') return false;
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

/** When a process began, in clock ticks since boot (proc(5), field 22 of `stat`); undefined without such a process or without /proc. */
function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name is in parentheses and may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/** What tells processes by their ids: the kernel since its boot, and the namespace of the ids, as each container has its own. */
function machine(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${hostname()} ${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}
