/** The folder of a drill: claimed by a marker, cleared of what a drill left that was killed, and cleared at the end. */
import { readlinkSync } from 'node:fs';
import { chown, lstat, mkdir, open, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { Owner } from '../restore/owner.ts';
import { restoreError } from '../restore/restore-error.ts';
import { processStart } from '../restore/restore-state.ts';

/** Name of the marker. Nothing is ever removed from a folder without it. */
const MARKER = 'pgark-drill.json';
/** A marker whose drill is dead, taken over by the process in its name. */
const TAKEN = /^pgark-drill\.json\.\d+$/;
/** What a drill makes in its folder, and all that it ever removes. */
const OWN = ['data', 'tablespaces', 'run', 'server.log'] as const;
/** What a file system of its own has in its root. */
const FOREIGN = 'lost+found';

interface Marker {
  readonly format: 1;
  /** The process of the drill, and when it began as its kernel counts. */
  readonly pid: number;
  readonly started: string;
  /** Whether the folder was made by a drill, and goes with it. */
  readonly made: boolean;
}

/** Milliseconds that a server has to end in, after each signal. */
const PATIENCE = 10_000;

export class ScratchFolder {
  readonly path: string;
  readonly #made: boolean;

  private constructor(path: string, made: boolean) {
    this.path = path;
    this.#made = made;
  }

  get data(): string {
    return join(this.path, 'data');
  }

  /** Holds the socket and the configuration of the server. */
  get run(): string {
    return join(this.path, 'run');
  }

  /** What the server said, of a drill whose folder is kept. */
  get log(): string {
    return join(this.path, 'server.log');
  }

  tablespace(oid: string): string {
    return join(this.path, 'tablespaces', oid);
  }

  /**
   * Takes the folder. One that a killed drill left is cleared first: its server, if it runs still, is ended. Errors:
   * `RESTORE_TARGET_IN_USE` when a drill works in it or it holds anything that no drill made; `RESTORE_FAILED`.
   */
  static async claim(path: string, owner: Owner | undefined, tell: (text: string) => void): Promise<ScratchFolder> {
    const existed = (await namesIn(path)) !== undefined;
    const left = existed ? await takeOver(path) : undefined;
    if (left !== undefined) tell(`${path} was left by a drill that was killed: cleared`);
    const made = left?.made ?? !existed;
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      await writeMarker(path, made);
      const scratch = new ScratchFolder(path, made);
      if (left !== undefined) await scratch.#clear();
      await mkdir(scratch.run, { mode: 0o700 });
      if (owner !== undefined) for (const folder of [path, scratch.run]) await chown(folder, owner.uid, owner.gid);
      return scratch;
    } catch (error) {
      throw error instanceof ArchiveError ? error : restoreError(error, `preparing ${path}`);
    }
  }

  /** Removes what the drill made, the marker last. Errors: `RESTORE_FAILED`. */
  async remove(): Promise<void> {
    try {
      await this.#clear();
      await rm(join(this.path, MARKER), { force: true });
      if (this.#made) await rmdir(this.path);
    } catch (error) {
      throw restoreError(error, `clearing ${this.path}`);
    }
  }

  async #clear(): Promise<void> {
    // What the restore_command of a server that was just killed still writes is waited for by the tries.
    for (const name of OWN)
      await rm(join(this.path, name), { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    for (const name of (await namesIn(this.path)) ?? []) if (TAKEN.test(name)) await rm(join(this.path, name));
  }
}

/** Looks into a folder and takes it from a dead drill. Undefined when it is empty. */
async function takeOver(path: string): Promise<Marker | undefined> {
  const names = ((await namesIn(path)) ?? []).filter((name) => name !== FOREIGN);
  if (names.length === 0) return undefined;
  const marked = names.find((name) => name === MARKER) ?? names.find((name) => TAKEN.test(name));
  const foreign = names.filter((name) => name !== MARKER && !TAKEN.test(name) && !OWN.some((own) => own === name));
  if (marked === undefined || foreign.length > 0)
    throw inUse(
      marked === undefined ? `${path} is not empty` : `${path} holds what no drill made: ${foreign.join(', ')}`,
    );
  const marker = await readMarker(path, marked);
  if (isAlive(marker)) throw inUse(`process ${marker.pid} runs a drill in ${path}`);
  try {
    // Of two that want the folder one finds the marker gone.
    await rename(join(path, marked), join(path, `${MARKER}.${process.pid}`));
  } catch (error) {
    throw errnoOf(error) === 'ENOENT'
      ? inUse(`another drill begins in ${path}`)
      : restoreError(error, `taking ${path}`);
  }
  await endServer(join(path, 'data'));
  return marker;
}

function inUse(message: string): ArchiveError {
  return new ArchiveError('RESTORE_TARGET_IN_USE', message, {
    hint: 'Give the drill an empty folder of its own with drill.folder or --folder; it removes nothing that it did not make.',
  });
}

function isAlive({ pid, started }: Marker): boolean {
  if (pid === process.pid) return false;
  if (started !== '') return processStart(pid) === started;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

/** Ends a server that outlived its drill. It is known by its folder, so that no other process of the same number is hit. */
async function endServer(data: string): Promise<void> {
  let pid: number;
  try {
    pid = Number((await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')[0]);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return;
    throw restoreError(error, `reading postmaster.pid in ${data}`);
  }
  if (!Number.isInteger(pid) || pid <= 1) return;
  for (const signal of ['SIGQUIT', 'SIGKILL'] as const) {
    if (!worksIn(pid, data)) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (errnoOf(error) === 'ESRCH') return;
      throw restoreError(error, `ending the server ${pid} of a killed drill`);
    }
    for (const deadline = Date.now() + PATIENCE; worksIn(pid, data) && Date.now() < deadline; await sleep(20));
  }
  if (worksIn(pid, data)) throw inUse(`the server ${pid} of a killed drill does not end`);
}

/** Whether a process is a server on this data directory, which is its current folder. */
function worksIn(pid: number, data: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === data;
  } catch (error) {
    // Without /proc the number alone must do: the server wrote it into a folder that only a drill uses.
    if (errnoOf(error) === 'ENOENT' && processStart(process.pid) !== '') return false;
    if (errnoOf(error) === 'EACCES') return false; // of another user: not ours
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false; // it has ended
    }
  }
}

async function writeMarker(path: string, made: boolean): Promise<void> {
  const marker: Marker = { format: 1, pid: process.pid, started: processStart(process.pid), made };
  try {
    const handle = await open(join(path, MARKER), 'wx', 0o600);
    await handle.writeFile(`${JSON.stringify(marker)}\n`);
    await handle.close();
  } catch (error) {
    throw errnoOf(error) === 'EEXIST' ? inUse(`another drill begins in ${path}`) : error;
  }
}

async function readMarker(path: string, name: string): Promise<Marker> {
  try {
    const marker = JSON.parse(await readFile(join(path, name), 'utf8')) as Partial<Marker>;
    if (marker.format === 1 && typeof marker.pid === 'number' && typeof marker.started === 'string')
      return { format: 1, pid: marker.pid, started: marker.started, made: marker.made === true };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw restoreError(error, `reading ${join(path, name)}`);
  }
  // Cut short by a full disk or a crash in its first moment: nothing says that its drill is dead.
  throw inUse(`${join(path, name)} is not the marker of a drill by this version of pgark`);
}

/** The names in a folder; undefined when there is none. */
async function namesIn(path: string): Promise<readonly string[] | undefined> {
  try {
    if ((await lstat(path)).isDirectory()) return await readdir(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw restoreError(error, `looking into ${path}`);
  }
  throw inUse(`${path} is not a folder`);
}

/** Gives a file of the server its content, and its owner. */
export async function writeOwned(path: string, content: string | Uint8Array, owner: Owner | undefined): Promise<void> {
  try {
    await writeFile(path, content, { mode: 0o600 });
    if (owner !== undefined) await chown(path, owner.uid, owner.gid);
  } catch (error) {
    throw restoreError(error, `writing ${path}`);
  }
}
