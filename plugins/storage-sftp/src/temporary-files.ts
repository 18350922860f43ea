import { randomBytes } from 'node:crypto';
import type { Logger } from '@pgark/sdk';
import type { Connection, Handle } from './connection.ts';
import { full, readFolder, TEMPORARY_FOLDER, type Root } from './root.ts';
import { isAbsent, mapped, sftpError, STATUS, statusOf } from './sftp-error.ts';

const NAME = /^put-[0-9a-f]{24}$/;

/** Seconds. A temporary file that nobody has written to for so long belongs to a process that died. */
const STALE = 24 * 3600;

export interface TemporaryFile {
  readonly path: string;
  /** Counts on this connection alone: another one may have the same handle for another file. */
  readonly handle: Handle;
  readonly connection: Connection;
  open: boolean;
  /** The server failed to sync it. Another sync would say nothing about the bytes that this one gave up. */
  spoilt: boolean;
}

/** Files that become objects by a link: in the root, because a link does not cross file systems. */
export class TemporaryFiles {
  readonly #root: Root;
  readonly #mode: number;
  readonly #logger: Logger;
  #swept = false;
  #refused = false;

  constructor(root: Root, mode: number, logger: Logger) {
    this.#root = root;
    this.#mode = mode;
    this.#logger = logger;
  }

  /** A path that no other file has. */
  newPath(): string {
    return this.#root.join(`${TEMPORARY_FOLDER}/put-${randomBytes(12).toString('hex')}`);
  }

  async create(connection: Connection, path: string): Promise<TemporaryFile> {
    const handle = await this.#open(connection, path);
    this.#root.mark();
    if (!this.#swept) {
      this.#swept = true;
      await this.#sweep(connection, handle);
    }
    return { path, handle, connection, open: true, spoilt: false };
  }

  async #open(connection: Connection, path: string): Promise<Handle> {
    const what = 'creating a temporary file';
    try {
      return await connection.open(path, 'wx', this.#mode);
    } catch (error) {
      if (statusOf(error) === STATUS.FAILURE && (await connection.isFull(this.#root.path))) throw full(what, error);
      if (!isAbsent(error)) throw sftpError(error, `${what} in ${this.#root.path}`);
    }
    await this.#root.create(connection);
    return mapped(connection.open(path, 'wx', this.#mode), `${what} in ${this.#root.path}`);
  }

  /** Closes it, at most once. */
  async close(file: TemporaryFile): Promise<void> {
    if (!file.open) return;
    file.open = false;
    if (!file.connection.isEnded) await file.connection.close(file.handle);
  }

  /** Closes and deletes a temporary file, whatever state it is in; a failure leaves it to a later sweep. */
  async discard(connection: Connection, file: TemporaryFile): Promise<void> {
    try {
      await Promise.all([this.close(file), connection.unlink(file.path)]);
    } catch (error) {
      this.#complain(error, file.path);
    }
  }

  /** Deletes one whose connection has ended; a failure leaves it to a later sweep. */
  async remove(connection: Connection, path: string): Promise<void> {
    try {
      await connection.unlink(path);
    } catch (error) {
      this.#complain(error, path);
    }
  }

  /** Deletes what processes that died have left. Age is measured by the clock of the server, not by ours. */
  async #sweep(connection: Connection, fresh: Handle): Promise<void> {
    const folder = this.#root.join(TEMPORARY_FOLDER);
    try {
      const now = (await connection.fstat(fresh)).mtime;
      for (const { name, info } of (await readFolder(connection, folder)) ?? []) {
        if (!NAME.test(name) || !info.isFile() || now - info.mtime < STALE) continue;
        await connection.unlink(`${folder}/${name}`);
        this.#logger.info({ path: `${folder}/${name}` }, 'removed a temporary file of a process that died');
      }
    } catch (error) {
      // Another process may sweep too. Nothing depends on the sweep, so the object is stored all the same.
      this.#complain(error, folder);
    }
  }

  /** A server may allow to add only: then every temporary file stays, which is said once. */
  #complain(error: unknown, path: string): void {
    if (isAbsent(error)) return;
    const refused = statusOf(error) === STATUS.PERMISSION_DENIED;
    if (refused && this.#refused) return;
    this.#refused ||= refused;
    const message = refused
      ? 'the server does not allow to remove temporary files: remove old ones there'
      : 'a temporary file could not be removed; it is when it is a day old';
    this.#logger.warn({ path, error: sftpError(error, `removing ${path}`) }, message);
  }
}
