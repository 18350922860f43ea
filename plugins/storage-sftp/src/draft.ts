import { crc32 } from 'node:zlib';
import { ArchiveError, isArchiveError } from '@pgark/sdk';
import type { Connection } from './connection.ts';
import type { Lease, Pool } from './pool.ts';
import { present } from './sftp-error.ts';
import type { TemporaryFile, TemporaryFiles } from './temporary-files.ts';
import { readRange, writeBody } from './transfer.ts';

/**
 * An object while it is written: a temporary file, and the connection over which it is.
 *
 * When the connection ends, the file is not opened again: its mode forbids that even to its owner, and an account that may only add
 * cannot change modes. What the server had confirmed is read back into a new file. That also finds out whether it is still there: a server
 * that crashed meanwhile may have lost bytes that it had confirmed, and kept their number.
 */
export class Draft {
  readonly #pool: Pool;
  readonly #files: TemporaryFiles;
  readonly #key: string;
  #lease: Lease;
  #connection: Connection;
  #file: TemporaryFile;
  /** Bytes that the server has confirmed, from the start, and their checksum. */
  #size = 0;
  #checksum = 0;

  private constructor(pool: Pool, files: TemporaryFiles, key: string, place: Place) {
    this.#pool = pool;
    this.#files = files;
    this.#key = key;
    ({ lease: this.#lease, connection: this.#connection, file: this.#file } = place);
  }

  static async begin(
    pool: Pool,
    files: TemporaryFiles,
    key: string,
    check: (connection: Connection) => Promise<void>,
  ): Promise<Draft> {
    return new Draft(pool, files, key, await newPlace(pool, files, check));
  }

  get connection(): Connection {
    return this.#connection;
  }

  get file(): TemporaryFile {
    return this.#file;
  }

  get size(): number {
    return this.#size;
  }

  /** Writes bytes behind those that are confirmed. May be called again for them. */
  async write(bytes: Uint8Array): Promise<void> {
    await writeBody(this.#connection, this.#file.handle, once(bytes), this.#size);
  }

  /** Says that the bytes of the last {@link write} are there. */
  confirm(bytes: Uint8Array): void {
    this.#checksum = crc32(bytes, this.#checksum);
    this.#size += bytes.byteLength;
  }

  /** Makes sure that there is a connection. False when what the server had confirmed is gone: nothing but another put helps. */
  async restore(): Promise<boolean> {
    if (!this.#connection.isEnded) return true;
    // A file that is closed is whole and synced: it only lacks its name.
    if (!this.#file.open) {
      this.#move(await leased(this.#pool));
      return true;
    }
    const place = await newPlace(this.#pool, this.#files);
    const { connection, file } = place;
    let copied = false;
    try {
      copied = await this.#copy(connection, file);
    } finally {
      if (!copied) await this.#files.discard(connection, file).finally(() => place.lease.release());
    }
    if (!copied) return false;
    const old = this.#file;
    old.open = false; // its handle ended with its connection
    this.#file = file;
    this.#move(place);
    await this.#files.discard(connection, old);
    return true;
  }

  #move({ lease, connection }: Omit<Place, 'file'>): void {
    this.#lease.release();
    this.#lease = lease;
    this.#connection = connection;
  }

  async #copy(connection: Connection, to: TemporaryFile): Promise<boolean> {
    if (this.#size === 0) return true;
    const handle = await present(connection.open(this.#file.path, 'r'), `reading ${this.#file.path}`);
    if (handle === undefined) return false;
    let checksum = 0;
    const range = { start: 0, end: this.#size };
    const bytes = readRange(connection, handle, this.#key, range);
    const summed = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for await (const chunk of bytes) {
        checksum = crc32(chunk, checksum);
        yield chunk;
      }
    };
    try {
      await writeBody(connection, to.handle, summed());
      await connection.close(handle);
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_CORRUPT')) return false; // it is shorter now
      throw error;
    }
    return checksum === this.#checksum;
  }

  /** Whether the object under this path has just the bytes that were written. */
  async isAt(path: string): Promise<boolean> {
    const handle = await present(this.#connection.open(path, 'r'), `reading ${path}`);
    if (handle === undefined) return false;
    let checksum = 0;
    try {
      if ((await this.#connection.fstat(handle)).size !== this.#size) return false;
      const bytes = readRange(this.#connection, handle, this.#key, { start: 0, end: this.#size });
      for await (const chunk of bytes) checksum = crc32(chunk, checksum);
    } finally {
      this.#connection.close(handle).catch(() => undefined); // the bytes are there, or an error is on its way out
    }
    return checksum === this.#checksum;
  }

  /** Removes the temporary file, which may have become an object under another name. */
  async discard(): Promise<void> {
    await this.#files.discard(this.#connection, this.#file);
  }

  release(): void {
    this.#lease.release();
  }

  /** What a put ends with whose bytes are gone. */
  lost(): ArchiveError {
    const message = `storing ${this.#key} failed: the server has lost the first ${this.#size} bytes, which it had confirmed`;
    return new ArchiveError('STORAGE_UNAVAILABLE', message, { hint: 'It may have crashed: look at its log.' });
  }
}

interface Place {
  readonly lease: Lease;
  readonly connection: Connection;
  readonly file: TemporaryFile;
}

async function leased(pool: Pool): Promise<Omit<Place, 'file'>> {
  const lease = pool.lease();
  try {
    return { lease, connection: await lease.connection };
  } catch (error) {
    lease.release();
    throw error;
  }
}

async function newPlace(
  pool: Pool,
  files: TemporaryFiles,
  check: (connection: Connection) => Promise<void> = async () => undefined,
): Promise<Place> {
  const place = await leased(pool);
  try {
    await check(place.connection);
    return { ...place, file: await files.create(place.connection) };
  } catch (error) {
    place.lease.release();
    throw error;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
