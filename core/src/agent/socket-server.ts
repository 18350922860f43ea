/** A server on a Unix socket that only this user can reach. */
import { lstatSync, mkdirSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { isOwnFolder } from './place.ts';
import { identityOf } from './protocol.ts';

const ONLY_USER = 0o177;

export class SocketServer {
  readonly #server: Server;
  readonly #paths: string[] = [];
  #identity = '';

  constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Listens on a socket that only this user can use, in place of one that a dead agent left. Errors: `AGENT_RUNNING` when one answers
   * there, `AGENT_SOCKET`.
   */
  async listen(path: string): Promise<void> {
    try {
      await removeStale(path);
      // Made with these permissions, not given them afterwards: between the two another user could connect.
      await new Promise<void>((resolve, reject) => {
        const umask = process.umask(ONLY_USER);
        this.#server.once('error', reject);
        this.#server.listen(path, resolve);
        process.umask(umask);
      });
      this.#paths.push(path);
      this.#identity = identityOf(statSync(path, { bigint: true }));
    } catch (error) {
      throw socketError(path, error);
    }
  }

  /** Makes the socket found under a second path. Errors: `AGENT_SOCKET`. */
  async link(socket: string, path: string): Promise<void> {
    try {
      // A killed agent may have left just this link, at the end of which this one listens now.
      if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(path) === socket) rmSync(path);
      await removeStale(path);
      symlinkSync(socket, path);
      this.#paths.push(path);
    } catch (error) {
      throw socketError(path, error);
    }
  }

  /** Whether the socket that clients find is still the one that this server listens on. */
  get isFound(): boolean {
    return this.#paths.every((path) => {
      const info = statSync(path, { bigint: true, throwIfNoEntry: false });
      return info !== undefined && identityOf(info) === this.#identity;
    });
  }

  /** Takes no more connections, and takes the socket away. Resolves when those that are open have ended. */
  async close(): Promise<void> {
    for (const path of this.#paths.splice(0).toReversed()) rmSync(path, { force: true });
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Removes a socket, or a link to one, at which nobody answers. Anything else is left as it is, and is an error. */
async function removeStale(path: string): Promise<void> {
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (info === undefined) return;
  if (!info.isSocket() && !info.isSymbolicLink()) throw new Error('there is a file that is no socket');
  if (info.uid !== process.getuid?.()) throw new Error('the socket there is of another user');
  if (await answers(path))
    throw new ArchiveError('AGENT_RUNNING', `another agent listens on ${path}`, { details: { socket: path } });
  rmSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) =>
      ['ECONNREFUSED', 'ENOENT'].includes(errnoOf(error) ?? '') ? resolve(false) : reject(error),
    );
  });
}

function socketError(path: string, error: unknown): unknown {
  if (error instanceof ArchiveError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new ArchiveError('AGENT_SOCKET', `cannot listen on ${path}: ${text}`, { cause: error });
}

/** The first of these folders that is this user's alone, or can be made so. Errors: `AGENT_SOCKET`. */
export function runtimeFolder(folders: readonly string[], uid: number): string {
  const found = folders.find((folder) => isOwnFolder(folder, uid));
  if (found !== undefined) return found;
  const last = folders.at(-1) ?? '';
  try {
    mkdirSync(last, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST')
      throw new ArchiveError('AGENT_SOCKET', `cannot make the folder ${last}: ${errnoOf(error)}`, { cause: error });
  }
  if (isOwnFolder(last, uid)) return last;
  throw new ArchiveError('AGENT_SOCKET', `others may write into ${last}, or it is not a folder of this user`);
}

/** Whether the folder of a socket that the config names may hold it: nobody else can put another in its place. */
export function checkSocketFolder(path: string, uid: number): void {
  const folder = dirname(path);
  const info = statSync(folder, { throwIfNoEntry: false });
  if (info === undefined) throw new ArchiveError('AGENT_SOCKET', `there is no folder ${folder}`);
  if ((info.uid !== uid && info.uid !== 0) || ((info.mode & 0o022) !== 0 && (info.mode & 0o1000) === 0))
    throw new ArchiveError('AGENT_SOCKET', `others may write into ${folder}`);
}
