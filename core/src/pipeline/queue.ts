import { ArchiveError } from '../contracts/errors.ts';
import { freeMemory, leaseChunk } from '../contracts/lease.ts';

export interface ByteQueueOptions {
  /** Bytes of every block but the last; default 1 MiB. */
  readonly blockSize?: number;
  /** From how many waiting bytes on {@link ByteQueue.pressure} asks the producer to wait; default 4 MiB. */
  readonly limit?: number;
}

/** All of its memory, which is from no pool. */
type Block = Uint8Array<ArrayBuffer>;

/**
 * From a producer that pushes to a reader that pulls: the bytes written come out as blocks of equal size, and blocks that are given as they are.
 *
 * `write` copies at once, so that it may be given views of a buffer that is used again, and never waits: a producer that
 * can wait asks `pressure` after each write. What waits is then at most the limit, one block and one write. A block that was given out
 * is leased: it is not touched again unless its reader releases it. One reader, once; when it leaves, the producer learns it
 * from `write`.
 */
export class ByteQueue implements AsyncIterableIterator<Uint8Array> {
  readonly #blockSize: number;
  readonly #limit: number;
  readonly #blocks: Uint8Array[] = [];
  /** Blocks that came back. */
  readonly #free: Block[] = [];
  #block: Block | undefined;
  #filled = 0;
  #waiting = 0;
  #state: 'open' | 'ended' | 'left' = 'open';
  #failure: { readonly error: unknown } | undefined;
  #taken = false;
  #reader: { resolve(step: IteratorResult<Uint8Array>): void; reject(error: unknown): void } | undefined;
  #relief: { readonly promise: Promise<void>; resolve(): void } | undefined;

  constructor(options: ByteQueueOptions = {}) {
    this.#blockSize = options.blockSize ?? 1024 * 1024;
    this.#limit = options.limit ?? 4 * 1024 * 1024;
  }

  /** Bytes written and not yet taken by the reader. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Adds a copy of the bytes. Throws `ABORTED` once the reader has left, the error of `fail` after that. */
  write(chunk: Uint8Array): void {
    this.#check();
    for (let offset = 0; offset < chunk.byteLength;) {
      this.#block ??= this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#blockSize);
      const part = chunk.subarray(offset, offset + this.#blockSize - this.#filled);
      this.#block.set(part, this.#filled);
      this.#filled += part.byteLength;
      this.#waiting += part.byteLength;
      offset += part.byteLength;
      if (this.#filled === this.#blockSize) this.#push();
    }
  }

  /** Adds a block, whatever its size, without a copy: it stays as it is, if it is leased until it is released. Throws as {@link write}. */
  give(block: Uint8Array): void {
    this.#check();
    if (this.#filled > 0) this.#push();
    this.#waiting += block.byteLength;
    this.#pass(block);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state === 'left') throw new ArchiveError('ABORTED', 'the reader of the stream has left before its end');
    if (this.#state === 'ended') throw new ArchiveError('INTERNAL', 'bytes were written after the end of the stream');
  }

  /** A promise to wait for before more is written, while more than the limit waits; it never rejects. */
  pressure(): Promise<void> | undefined {
    if (this.#state === 'left' || this.#failure !== undefined || !this.#isFull()) return undefined;
    if (this.#relief === undefined) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((settle) => (resolve = settle));
      this.#relief = { promise, resolve };
    }
    return this.#relief.promise;
  }

  /** Says that everything was written. */
  end(): void {
    if (this.#state !== 'open' || this.#failure !== undefined) return;
    this.#state = 'ended';
    if (this.#filled > 0) this.#push();
    for (const memory of this.#free.splice(0)) freeMemory(memory.buffer);
    this.#reader?.resolve({ done: true, value: undefined });
    this.#reader = undefined;
  }

  /** Makes the reader fail with this error, at once; a stream that failed never looks ended. */
  fail(error: unknown): void {
    if (this.#state === 'left' || this.#failure !== undefined) return;
    this.#failure = { error };
    this.#drop();
    this.#reader?.reject(error);
    this.#reader = undefined;
  }

  [Symbol.asyncIterator](): this {
    if (this.#taken) throw new ArchiveError('INTERNAL', 'a byte queue was read twice');
    this.#taken = true;
    return this;
  }

  /** For the loop of the reader, as is `return`. */
  next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    const block = this.#blocks.shift();
    if (block !== undefined) {
      this.#took(block.byteLength);
      return Promise.resolve({ done: false, value: block });
    }
    if (this.#state !== 'open') return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    if (this.#state === 'open' || this.#waiting > 0) this.#state = 'left';
    this.#drop();
    this.#reader?.resolve({ done: true, value: undefined });
    this.#reader = undefined;
    return Promise.resolve({ done: true, value: undefined });
  }

  #push(): void {
    const memory = this.#block!;
    // A view of its own each time, so that a reader that releases late does not release what was given out since.
    const block = leaseChunk(memory.subarray(0, this.#filled), () => this.#giveBack(memory));
    this.#block = undefined;
    this.#filled = 0;
    this.#pass(block);
  }

  #pass(block: Uint8Array): void {
    const reader = this.#reader;
    if (reader === undefined) {
      this.#blocks.push(block);
      return;
    }
    this.#reader = undefined;
    this.#took(block.byteLength);
    reader.resolve({ done: false, value: block });
  }

  /** Nobody fills it any more once all is written, and the collector would come late: the next object has blocks of its own by then. */
  #giveBack(memory: Block): void {
    if (this.#state === 'open') this.#free.push(memory);
    else freeMemory(memory.buffer);
  }

  /** A block that is not full yet does not count: the reader could not take it. */
  #isFull(): boolean {
    return this.#waiting - this.#filled > this.#limit;
  }

  #took(bytes: number): void {
    this.#waiting -= bytes;
    if (this.#isFull()) return;
    this.#relief?.resolve();
    this.#relief = undefined;
  }

  #drop(): void {
    this.#blocks.length = 0;
    this.#block = undefined;
    this.#filled = 0;
    this.#took(this.#waiting);
  }
}
