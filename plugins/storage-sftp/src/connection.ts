import type { Socket } from 'node:net';
import { ArchiveError } from '@pgark/sdk';
import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2';
import { STATUS, statusOf } from './sftp-error.ts';

/** A file or folder that is open on the server. */
export type Handle = Buffer;

export interface ConnectionOptions {
  /** `host:port`, for messages. */
  readonly server: string;
  /** Milliseconds without an answer while one is awaited. */
  readonly timeout: number;
  /** Called once, when the connection can no longer be used. */
  readonly ended: () => void;
}

type Answer<Value> = (error?: Error | null, value?: Value) => void;

/**
 * One SFTP session, as promises. Requests may be sent without waiting for the ones before; the server answers in order.
 *
 * Errors are the server's own, with a status code. When the connection breaks, or no answer to any request has come for
 * `timeout` although one is awaited (H-54), all of them fail with `STORAGE_UNAVAILABLE`, and so does every later one. Signs of
 * life below SFTP do not count: sshd can be well while the disk behind it hangs.
 */
export class Connection {
  readonly #sftp: SFTPWrapper;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #waiting = new Set<(error: ArchiveError) => void>();
  #end: ArchiveError | undefined;
  #lastAnswer = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(sftp: SFTPWrapper, socket: Socket, options: ConnectionOptions) {
    this.#sftp = sftp;
    this.#socket = socket;
    this.#options = options;
    let failure: unknown;
    const lost = (): void => this.drop(`the connection to ${options.server} was lost`, failure);
    socket.on('error', (error) => {
      failure = error;
    });
    socket.on('close', lost);
    // The SFTP subsystem can end alone, and says by 'error' that it does not understand the server.
    sftp.on('error', (error: unknown) => {
      failure = error;
      lost();
    });
    sftp.on('close', lost);
    sftp.on('end', lost);
    if (socket.destroyed) lost();
  }

  /** Whether it can no longer be used. */
  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Ends the connection at once, without a word to the peer, which may not be there. */
  drop(message: string, cause?: unknown): void {
    if (this.#end !== undefined) return;
    const end = new ArchiveError('STORAGE_UNAVAILABLE', message, cause === undefined ? {} : { cause });
    this.#end = end;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    this.#options.ended();
    for (const reject of this.#waiting) reject(end);
    this.#waiting.clear();
  }

  open(path: string, flags: 'r'): Promise<Handle>;
  open(path: string, flags: 'wx', mode: number): Promise<Handle>;
  open(path: string, flags: 'r' | 'wx', mode = 0): Promise<Handle> {
    return this.#request((done) =>
      flags === 'r' ? this.#sftp.open(path, flags, done) : this.#sftp.open(path, flags, mode, done),
    );
  }

  close(handle: Handle): Promise<void> {
    return this.#request((done) => this.#sftp.close(handle, done));
  }

  /** Reads into `buffer` and gives the number of bytes, 0 at the end of the file. There may be less than fits. */
  read(handle: Handle, buffer: Buffer, offset: number, position: number): Promise<number> {
    const length = buffer.byteLength - offset;
    return this.#request((done) => this.#sftp.read(handle, buffer, offset, length, position, done));
  }

  write(handle: Handle, bytes: Buffer, position: number): Promise<void> {
    return this.#request((done) => this.#sftp.write(handle, bytes, 0, bytes.byteLength, position, done));
  }

  fstat(handle: Handle): Promise<Stats> {
    return this.#request((done) => this.#sftp.fstat(handle, done));
  }

  stat(path: string): Promise<Stats> {
    return this.#request((done) => this.#sftp.stat(path, done));
  }

  opendir(path: string): Promise<Handle> {
    return this.#request((done) => this.#sftp.opendir(path, done));
  }

  /** The next entries of a folder, without `.` and `..`; undefined at its end. */
  async readdir(handle: Handle): Promise<readonly FileEntryWithStats[] | undefined> {
    try {
      return await this.#request<FileEntryWithStats[]>((done) => this.#sftp.readdir(handle, done));
    } catch (error) {
      if (statusOf(error) === STATUS.EOF) return undefined;
      throw error;
    }
  }

  mkdir(path: string, mode: number): Promise<void> {
    return this.#request((done) => this.#sftp.mkdir(path, { mode }, done));
  }

  rmdir(path: string): Promise<void> {
    return this.#request((done) => this.#sftp.rmdir(path, done));
  }

  unlink(path: string): Promise<void> {
    return this.#request((done) => this.#sftp.unlink(path, done));
  }

  /** By the protocol this refuses a name that exists; see also {@link replace}. */
  rename(from: string, to: string): Promise<void> {
    return this.#request((done) => this.#sftp.rename(from, to, done));
  }

  /** rename(2), which replaces. An extension, as are the following: `OP_UNSUPPORTED` where it is not offered. */
  replace(from: string, to: string): Promise<void> {
    return this.#request((done) => this.#extension(() => this.#sftp.ext_openssh_rename(from, to, done), done));
  }

  /** link(2): atomic, and refuses a name that exists. */
  link(from: string, to: string): Promise<void> {
    return this.#request((done) => this.#extension(() => this.#sftp.ext_openssh_hardlink(from, to, done), done));
  }

  fsync(handle: Handle): Promise<void> {
    return this.#request((done) => this.#extension(() => this.#sftp.ext_openssh_fsync(handle, done), done));
  }

  /** Whether the file system of `path` has no block left for this user; false where that cannot be asked. */
  async isFull(path: string): Promise<boolean> {
    try {
      const space = await this.#request<{ readonly f_bavail?: number }>((done) =>
        this.#extension(() => this.#sftp.ext_openssh_statvfs(path, done), done),
      );
      return space.f_bavail === 0;
    } catch {
      return false; // it is asked only to say more exactly what has failed already
    }
  }

  /** The library throws where the server has not offered the extension; that is as good as the server's own answer. */
  #extension(send: () => void, done: Answer<never>): void {
    try {
      send();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      done(Object.assign(new Error(text), { code: STATUS.OP_UNSUPPORTED }));
    }
  }

  #request<Value>(send: (done: Answer<Value>) => void): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#end);
        return;
      }
      if (this.#waiting.size === 0) this.#await();
      this.#waiting.add(reject);
      send((error, value) => {
        if (!this.#waiting.has(reject)) return;
        // What has no status is no answer, but the library's word that the session has ended.
        if (error && statusOf(error) === undefined) {
          this.drop(`the connection to ${this.#options.server} was lost`, error);
          return;
        }
        this.#waiting.delete(reject);
        this.#lastAnswer = performance.now();
        if (this.#waiting.size === 0) clearTimeout(this.#timer);
        if (error) reject(error);
        else resolve(value as Value);
      });
    });
  }

  #await(): void {
    this.#lastAnswer = performance.now();
    this.#timer = setTimeout(() => this.#check(), this.#options.timeout);
  }

  #check(): void {
    const { timeout, server } = this.#options;
    const left = this.#lastAnswer + timeout - performance.now();
    if (left > 0) {
      this.#timer = setTimeout(() => this.#check(), left);
      return;
    }
    // A process that was itself held up has answers waiting in its socket: they are read first.
    const { bytesRead } = this.#socket;
    this.#timer = setTimeout(() => {
      if (this.#socket.bytesRead !== bytesRead && performance.now() - this.#lastAnswer < timeout) this.#check();
      else this.drop(`${server} has not answered for ${Math.round(timeout / 100) / 10} s`);
    }, 50);
  }
}
