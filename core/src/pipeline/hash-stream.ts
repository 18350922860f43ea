import { ArchiveError } from '../contracts/errors.ts';
import { leaseChunk } from '../contracts/lease.ts';
import type { HashedSlot } from './hash-messages.ts';
import type { BlockHasher, BlockSink, HashRange } from './hasher.ts';

/** Bytes of a piece of memory that goes to the thread and comes back. Shared memory is filled at a quarter of the speed. */
export const SLOT_SIZE: number = 1024 * 1024;
/** Ranges of one slot: an archive may hold a million empty files, with a header for each. */
const MOST_RANGES = SLOT_SIZE / 512;

/** Memory that the thread does not have. */
export type Slot = Uint8Array<ArrayBuffer>;

/** What a stream asks of the thread. */
export interface StreamThread {
  /** Why it is gone. */
  readonly failure: ArchiveError | undefined;
  takeSlot(): Slot;
  giveSlot(slot: Slot): void;
  /** Errors: those of memory that cannot go along. */
  send(stream: number, memory: ArrayBuffer, ranges: readonly HashRange[]): void;
  pressure(): Promise<void> | undefined;
  /** The stream of this number takes nothing more. */
  end(stream: number): void;
}

/** What one writer has hashed by the thread. */
export class HashStream implements BlockHasher {
  readonly #thread: StreamThread;
  readonly #id: number;
  readonly #onDigest: (sha256: string) => void;
  #sink: BlockSink | undefined;
  /** Those that wait for memory to come back. */
  readonly #unended = new Set<BlockSink>();
  #slot: Slot | undefined;
  #filled = 0;
  #ranges: { readonly from: number; to: number; ends: boolean }[] = [];
  /** What is done with the memory that the thread has, in the order in which it comes back. */
  readonly #sent: ((memory: ArrayBuffer) => void)[] = [];
  /** What a sink has thrown, or why memory did not come along: nothing more is taken. */
  #refused: { readonly error: unknown } | undefined;
  #waiting: (() => void) | undefined;
  #open = true;

  constructor(thread: StreamThread, id: number, onDigest: (sha256: string) => void) {
    this.#thread = thread;
    this.#id = id;
    this.#onDigest = onDigest;
  }

  begin(sink: BlockSink): void {
    this.#sink = sink;
    this.#unended.add(sink);
  }

  write(bytes: Uint8Array): void {
    this.#add(bytes, true);
  }

  pass(bytes: Uint8Array): void {
    this.#add(bytes, false);
  }

  #add(bytes: Uint8Array, isHashed: boolean): void {
    this.#check();
    for (let offset = 0; offset < bytes.byteLength;) {
      this.#slot ??= this.#thread.takeSlot();
      const part = bytes.subarray(offset, offset + SLOT_SIZE - this.#filled);
      this.#slot.set(part, this.#filled);
      if (isHashed) this.#range(this.#filled + part.byteLength);
      this.#filled += part.byteLength;
      offset += part.byteLength;
      if (this.#filled === SLOT_SIZE) this.#send(false);
    }
  }

  /** What comes up to there is of the present piece. */
  #range(to: number): void {
    const last = this.#ranges.at(-1);
    if (last?.to === this.#filled && !last.ends) last.to = to;
    else this.#ranges.push({ from: this.#filled, to, ends: false });
  }

  cut(): void {
    this.#check();
    this.#slot ??= this.#thread.takeSlot();
    const last = this.#ranges.at(-1);
    if (last?.ends === false) last.ends = true;
    else this.#ranges.push({ from: this.#filled, to: this.#filled, ends: true });
    if (this.#ranges.length === MOST_RANGES) this.#send(false);
  }

  move(memory: ArrayBuffer, ranges: readonly HashRange[], release: (memory: ArrayBuffer) => void): void {
    this.#check();
    this.#send(false);
    try {
      this.#thread.send(this.#id, memory, ranges);
    } catch (error) {
      // It would be missing in its digest, and a file be called damaged that is not.
      const cause = new ArchiveError('INTERNAL', 'memory that was leased cannot go to the hashing thread', {
        cause: error,
      });
      this.#refused ??= { error: cause };
      throw cause;
    }
    this.#sent.push(release);
  }

  end(): void {
    this.#check();
    this.#slot ??= this.#thread.takeSlot();
    this.#send(true);
    this.#sink = undefined;
  }

  pressure(): Promise<void> | undefined {
    return this.#thread.pressure();
  }

  async finish(): Promise<void> {
    this.#check();
    this.#send(false);
    if (this.#sent.length > 0) await new Promise<void>((resolve) => (this.#waiting = resolve));
    this.#check();
  }

  discard(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#slot !== undefined) this.#thread.giveSlot(this.#slot);
    this.#slot = undefined;
    this.#thread.end(this.#id);
    this.#waiting?.();
  }

  /** The thread is done with some memory. */
  hashed({ memory, digests }: HashedSlot): void {
    for (const digest of digests) this.#onDigest(digest);
    this.#sent.shift()?.(memory);
    if (this.#sent.length === 0) this.#waiting?.();
  }

  #give(sink: BlockSink, block: Slot): void {
    try {
      sink.give(leaseChunk(block, () => this.#thread.giveSlot(new Uint8Array(block.buffer))));
    } catch (error) {
      this.#refused ??= { error };
    }
  }

  /** The thread is gone, and with it what it had: who waits until a sink is through would wait for ever. */
  failed(error: ArchiveError): void {
    for (const sink of this.#unended) sink.fail(error);
    this.#waiting?.();
  }

  #check(): void {
    if (this.#thread.failure !== undefined) throw this.#thread.failure;
    if (this.#refused !== undefined) throw this.#refused.error;
    if (!this.#open) throw new ArchiveError('INTERNAL', 'bytes were hashed after the end of their stream');
  }

  #send(last: boolean): void {
    if (this.#slot === undefined) return;
    const sink = this.#sink;
    const length = this.#filled;
    this.#sent.push((memory) => {
      if (sink === undefined || length === 0) this.#thread.giveSlot(new Uint8Array(memory));
      else this.#give(sink, new Uint8Array(memory, 0, length));
      if (!last || sink === undefined) return;
      this.#unended.delete(sink);
      sink.end();
    });
    this.#thread.send(this.#id, this.#slot.buffer, this.#ranges);
    this.#slot = undefined;
    this.#filled = 0;
    this.#ranges = [];
  }
}
