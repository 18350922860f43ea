import { crc32 } from 'node:zlib';
import { ArchiveError, isArchiveError, throwIfAborted } from '@pgark/sdk';
import type { Connection, Handle } from './connection.ts';
import { unlessAborted, type Lease, type Pool } from './pool.ts';
import { present } from './sftp-error.ts';
import type { TemporaryFile, TemporaryFiles } from './temporary-files.ts';
import { readRange, writeBody } from './transfer.ts';

/** Bytes that one step copies or compares: few enough for a slow network within the time that a step may take without progress. */
const PIECE = 8 * 1024 * 1024;

/** How often in a row a copy that has got over its first piece may be lost. Earlier losses are the step's, whose deadline ends them. */
const MOST_LOSSES = 10;

/** What {@link Draft.restore} came to: after `more` it is to be called again; the error is the put's, no attempt helps. */
export type Restored = 'ready' | 'more' | ArchiveError;

/**
 * An object while it is written: a temporary file, and the connection over which it is.
 *
 * When the connection ends, the file is not opened again: its mode forbids that even to its owner, and an account that may only add
 * cannot change modes. What the server had confirmed is read back into a new file. That also finds out whether it is still there: a server
 * that crashed meanwhile may have lost bytes that it had confirmed, and kept their number.
 *
 * What works on it does so in {@link turn}s, one after the other.
 */
export class Draft {
  readonly #pool: Pool;
  readonly #files: TemporaryFiles;
  readonly #key: string;
  #lease: Lease;
  #connection: Connection;
  #target: Target;
  /** The file that has all confirmed bytes while the target does not. */
  #source: string | undefined;
  /** Files without use, which may be there. */
  readonly #waste = new Set<string>();
  /** Bytes that the server has confirmed, from the start, and their checksum. */
  #size = 0;
  #checksum = 0;
  #losses = 0;
  /** The last turn; never rejects. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    pool: Pool,
    files: TemporaryFiles,
    key: string,
    { lease, file }: { lease: Lease; file: TemporaryFile },
  ) {
    this.#pool = pool;
    this.#files = files;
    this.#key = key;
    this.#lease = lease;
    this.#connection = file.connection;
    this.#target = targetOf(file);
  }

  static async begin(
    pool: Pool,
    files: TemporaryFiles,
    key: string,
    options: { readonly check: (connection: Connection) => Promise<void>; readonly signal: AbortSignal | undefined },
  ): Promise<Draft> {
    const lease = pool.lease();
    try {
      const connection = await unlessAborted(lease.connection, options.signal, `storing ${key}`);
      await options.check(connection);
      return new Draft(pool, files, key, { lease, file: await files.create(connection, files.newPath()) });
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  get connection(): Connection {
    return this.#connection;
  }

  get size(): number {
    return this.#size;
  }

  /** The step that comes next where `step` is to be done, for the log. */
  nameOf(step: string): string {
    const { size, complete } = this.#target;
    return complete || size === this.#size ? step : `copy from ${size}`;
  }

  /**
   * Runs one attempt of a step, after the one before has ended. Whoever cancels an attempt begins the next without waiting for it, and
   * two at a time would write into each other's file: so `cancel` ends its connection, and with it all that it waits for.
   *
   * After `over`, which ends the put, no attempt follows: the connection is left to the calls that share it, and the wait ends at once.
   */
  turn<Value>(cancel: AbortSignal, over: AbortSignal | undefined, work: () => Promise<Value>): Promise<Value> {
    const before = this.#last;
    const what = `storing ${this.#key}`;
    const run = async (): Promise<Value> => {
      await before;
      throwIfAborted(cancel, what);
      const drop = (): void => {
        if (over?.aborted !== true) this.#connection.drop(`${what} stood still and was cancelled`);
      };
      cancel.addEventListener('abort', drop);
      try {
        return await work();
      } finally {
        cancel.removeEventListener('abort', drop);
      }
    };
    const running = run();
    this.#last = running.catch(() => undefined);
    return unlessAborted(running, over, what);
  }

  /** The file that has all confirmed bytes; only after {@link restore} said `ready`. */
  get file(): TemporaryFile {
    return this.#target.file;
  }

  /** Writes bytes behind those that are confirmed. May be called again for them. */
  async write(bytes: Uint8Array): Promise<void> {
    const { file } = this.#target;
    await writeBody(file.connection, file.handle, once(bytes), this.#size);
  }

  /** Says that the bytes of the last {@link write} are there. */
  confirm(bytes: Uint8Array): void {
    this.#checksum = crc32(bytes, this.#checksum);
    this.#size += bytes.byteLength;
    this.#target.size = this.#size;
    this.#target.checksum = this.#checksum;
    this.#losses = 0;
  }

  /** Says that the file is whole and on the disk: it only lacks its name, over any connection. */
  complete(): void {
    this.#target.complete = true;
  }

  get isComplete(): boolean {
    return this.#target.complete;
  }

  /** Makes sure that there is a connection. */
  async connect(cancel: AbortSignal): Promise<Connection> {
    if (!this.#connection.isEnded) return this.#connection;
    const lease = this.#pool.lease();
    try {
      const connection = await unlessAborted(lease.connection, cancel, `storing ${this.#key}`);
      throwIfAborted(cancel, `storing ${this.#key}`);
      this.#lease.release();
      this.#lease = lease;
      this.#connection = connection;
      return connection;
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /** Brings the file one piece nearer to all confirmed bytes, over a new connection where the old one has ended. */
  async restore(cancel: AbortSignal): Promise<Restored> {
    const { complete, file } = this.#target;
    if (complete) return 'ready';
    if (file.spoilt || file.connection.isEnded) {
      if (this.#losses >= MOST_LOSSES) return this.#givenUp();
      await this.#begin(cancel);
    }
    if (this.#target.size === this.#size) return 'ready';
    if (!(await this.#copy(this.#target, cancel))) return this.#lost();
    return this.#target.size === this.#size ? 'ready' : 'more';
  }

  /** Takes a new file for the one that can no longer be written. */
  async #begin(cancel: AbortSignal): Promise<void> {
    const old = this.#target;
    const connection = await this.connect(cancel);
    const path = this.#files.newPath();
    this.#waste.add(path); // until it is ours: the answer may be lost
    this.#target = targetOf(await this.#files.create(connection, path));
    this.#waste.delete(path);
    if (old.size >= PIECE) this.#losses += 1;
    // One that had not got all bytes yet is of no use; the source still has them.
    if (old.size === this.#size) this.#source = old.file.path;
    else this.#waste.add(old.file.path);
    if (this.#size === 0) this.#drain();
    throwIfAborted(cancel, `storing ${this.#key}`);
    await this.#files.close(old.file); // where its connection still stands
    await this.#clean(connection);
  }

  /** Says that the source has become useless. */
  #drain(): void {
    if (this.#source !== undefined) this.#waste.add(this.#source);
    this.#source = undefined;
  }

  async #clean(connection: Connection): Promise<void> {
    for (const path of this.#waste) {
      await this.#files.remove(connection, path);
      if (connection.isEnded) return;
      this.#waste.delete(path);
    }
  }

  /** Copies a piece. False when the source does not have the bytes any more. */
  async #copy(target: Target, cancel: AbortSignal): Promise<boolean> {
    const what = `storing ${this.#key}`;
    const { file } = target;
    const { connection } = file;
    const path = this.#source ?? '';
    target.source ??= await present(connection.open(path, 'r'), `reading ${path}`);
    throwIfAborted(cancel, what);
    if (target.source === undefined) return false;
    const end = Math.min(this.#size, target.size + PIECE);
    let { checksum } = target;
    const bytes = readRange(connection, target.source, this.#key, { start: target.size, end });
    const summed = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for await (const chunk of bytes) {
        throwIfAborted(cancel, what);
        checksum = crc32(chunk, checksum);
        yield chunk;
      }
    };
    try {
      await writeBody(connection, file.handle, summed(), target.size);
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_CORRUPT')) return false; // it is shorter now
      throw error;
    }
    throwIfAborted(cancel, what);
    if (end === this.#size && checksum !== this.#checksum) return false;
    target.size = end;
    target.checksum = checksum;
    if (end < this.#size) return true;
    this.#drain();
    connection.close(target.source).catch(() => undefined); // nothing is lost with what was read
    await this.#clean(connection);
    return true;
  }

  /** A look at whether the object under this path has just the bytes that were written. */
  lookAt(path: string): Look {
    return new Look(this.#key, path, { size: this.#size, checksum: this.#checksum });
  }

  /** Removes the temporary files, of which one may have become an object under another name, once the last turn has ended. */
  async end(): Promise<void> {
    await this.#last;
    try {
      await this.#files.discard(this.#connection, this.#target.file);
      this.#drain();
      await this.#clean(this.#connection);
    } finally {
      this.#lease.release();
    }
  }

  #lost(): ArchiveError {
    const message = `storing ${this.#key} failed: the server has lost the first ${this.#size} bytes, which it had confirmed`;
    return new ArchiveError('STORAGE_UNAVAILABLE', message, { hint: 'It may have crashed: look at its log.' });
  }

  #givenUp(): ArchiveError {
    const message = `storing ${this.#key} failed: the connection was lost more than ${MOST_LOSSES} times before one more byte was stored`;
    return new ArchiveError('STORAGE_UNAVAILABLE', message, {
      hint: 'Connections stand, but not for long: look at the network and at the log of the server.',
    });
  }
}

/** A file that is being written. */
interface Target {
  readonly file: TemporaryFile;
  /** Bytes of the object that are in it for sure, from the start, and their checksum. */
  size: number;
  checksum: number;
  /** Where they are copied from, on the connection of the file. */
  source: Handle | undefined;
  complete: boolean;
}

function targetOf(file: TemporaryFile): Target {
  return { file, size: 0, checksum: 0, source: undefined, complete: false };
}

/** Compares an object with the bytes that were written, a piece at a time, each over any connection. */
export class Look {
  readonly #key: string;
  readonly #path: string;
  readonly #size: number;
  readonly #expected: number;
  #compared = 0;
  #checksum = 0;

  constructor(key: string, path: string, expected: { readonly size: number; readonly checksum: number }) {
    this.#key = key;
    this.#path = path;
    this.#size = expected.size;
    this.#expected = expected.checksum;
  }

  /** `other` also when there is none. */
  async next(connection: Connection): Promise<'same' | 'other' | 'more'> {
    const handle = await present(connection.open(this.#path, 'r'), `reading ${this.#path}`);
    if (handle === undefined) return 'other';
    const end = Math.min(this.#size, this.#compared + PIECE);
    let checksum = this.#checksum;
    try {
      if ((await connection.fstat(handle)).size !== this.#size) return 'other';
      const bytes = readRange(connection, handle, this.#key, { start: this.#compared, end });
      for await (const chunk of bytes) checksum = crc32(chunk, checksum);
    } finally {
      connection.close(handle).catch(() => undefined); // the bytes are there, or an error is on its way out
    }
    this.#checksum = checksum;
    this.#compared = end;
    if (end < this.#size) return 'more';
    return checksum === this.#expected ? 'same' : 'other';
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
