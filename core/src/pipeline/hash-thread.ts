import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ArchiveError } from '../contracts/errors.ts';
import { freeMemory } from '../contracts/lease.ts';
import type { FromHashWorker, ReadFile, ToHashWorker } from './hash-messages.ts';
import { HashStream, SLOT_SIZE, type Slot, type StreamThread } from './hash-stream.ts';
import {
  blocksInPlace,
  hashInPlace,
  piecesInPlace,
  type BlockHasher,
  type Hasher,
  type HashRange,
  type PieceHasher,
} from './hasher.ts';

/** Slots that may wait for the thread before those who write are asked to wait; each stream fills one more. */
const MOST_WAITING = 4;
/** Slots that are kept when nobody uses them. */
const MOST_FREE = 8;
/** Milliseconds for which an idle thread is kept: the next part of a backup begins at once. */
const LINGER = 2000;

let current: HashThread | undefined;

function thread(): HashThread | undefined {
  if (availableParallelism() < 2) return undefined;
  if (current !== undefined) return current;
  // One that was idle tells of its end late, when there may be another one.
  const begun: HashThread = new HashThread(() => {
    if (current === begun) current = undefined;
  });
  return (current = begun);
}

/** A SHA-256 that is computed in a thread of its own, shared by all that run at once; in place where there is one core only. */
export function hashInThread(): Hasher {
  const running = thread();
  if (running === undefined) return hashInPlace();
  let sha256 = '';
  const stream = running.begin((digest) => (sha256 = digest));
  return {
    update: async (chunk) => {
      for (let offset = 0; offset < chunk.byteLength; offset += SLOT_SIZE) {
        stream.write(chunk.subarray(offset, offset + SLOT_SIZE));
        await stream.pressure();
      }
    },
    digest: async () => {
      stream.cut();
      await stream.finish();
      stream.discard();
      return sha256;
    },
    discard: () => stream.discard(),
  };
}

/** Pieces that are hashed in the same thread; in place where there is one core only. `onDigest` gets lower-case hex, and must not throw. */
export function piecesInThread(onDigest: (sha256: string) => void): PieceHasher {
  return thread()?.begin(onDigest) ?? piecesInPlace(onDigest);
}

/** The same on the way of a stream: the memory in which it is hashed goes on to the sink. */
export function blocksInThread(onDigest: (sha256: string) => void): BlockHasher {
  return thread()?.begin(onDigest) ?? blocksInPlace(onDigest);
}

/** A file in memory. */
export interface HashedFile {
  /** The memory that was given, which went to another thread and came back as another view of it. */
  readonly memory: Uint8Array<ArrayBuffer>;
  /** Bytes that were read: all of the file, or as many as there was room for. */
  readonly size: number;
  /** Of those bytes, lower-case hex. */
  readonly sha256: string;
}

/**
 * Reads a file into memory of its own and hashes it, both in the thread; undefined where there is one core only. The memory is gone when it
 * fails. Errors: those of the file system, with their `code`; `INTERNAL` when the thread ends.
 */
export function readInThread(path: string, memory: Uint8Array<ArrayBuffer>): Promise<HashedFile> | undefined {
  return thread()?.read(path, memory);
}

/** One thread and the memory through which it is fed: the bytes are copied, at a tenth of what hashing them costs. */
class HashThread implements StreamThread {
  readonly #worker: Worker;
  readonly #free: Slot[] = [];
  /** Slots that the thread has. */
  #waiting = 0;
  readonly #streams = new Map<number, HashStream>();
  readonly #jobs = new Map<number, (answer: ReadFile | ArchiveError) => void>();
  readonly #gone: () => void;
  #begun = 0;
  #relief: { readonly promise: Promise<void>; resolve(): void } | undefined;
  #failure: ArchiveError | undefined;
  #linger: NodeJS.Timeout | undefined;

  constructor(gone: () => void) {
    this.#gone = gone;
    // Built, the modules are chunks in one folder, and the thread is an entry of its own.
    const file = import.meta.url.endsWith('.ts') ? './hash-worker.ts' : './hash-worker.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      name: 'pgark hash',
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 },
    });
    this.#worker.on('message', (message: FromHashWorker) => this.#answer(message));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(undefined));
  }

  /** Why the thread is gone. */
  get failure(): ArchiveError | undefined {
    return this.#failure;
  }

  begin(onDigest: (sha256: string) => void): BlockHasher {
    const id = this.#wake();
    const stream = new HashStream(this, id, onDigest);
    this.#streams.set(id, stream);
    return stream;
  }

  async read(path: string, memory: Uint8Array<ArrayBuffer>): Promise<HashedFile> {
    const job = this.#wake();
    try {
      const answer = await new Promise<ReadFile | ArchiveError>((resolve) => {
        this.#jobs.set(job, resolve);
        this.#post({ type: 'read', job, path, memory }, [memory.buffer]);
      });
      if (answer instanceof ArchiveError) throw answer;
      if ('code' in answer) throw Object.assign(new Error(answer.message), { code: answer.code });
      return answer;
    } finally {
      this.#jobs.delete(job);
      this.#rest();
    }
  }

  #wake(): number {
    clearTimeout(this.#linger);
    this.#worker.ref();
    return this.#begun++;
  }

  takeSlot(): Slot {
    return this.#free.pop() ?? new Uint8Array(SLOT_SIZE);
  }

  giveSlot(slot: Slot): void {
    if (this.#free.length < MOST_FREE) this.#free.push(slot);
    else freeMemory(slot.buffer);
  }

  /** Throws for memory that cannot go to another thread, and takes nothing then. */
  send(stream: number, memory: ArrayBuffer, ranges: readonly HashRange[]): void {
    this.#post({ type: 'update', stream, memory, ranges }, [memory]);
    this.#waiting++;
  }

  pressure(): Promise<void> | undefined {
    if (this.#waiting <= MOST_WAITING || this.#failure !== undefined) return undefined;
    if (this.#relief === undefined) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((settle) => (resolve = settle));
      this.#relief = { promise, resolve };
    }
    return this.#relief.promise;
  }

  end(stream: number): void {
    this.#streams.delete(stream);
    this.#post({ type: 'forget', stream }, []);
    this.#rest();
  }

  #rest(): void {
    if (this.#streams.size > 0 || this.#jobs.size > 0) return;
    // An idle thread keeps no process alive.
    this.#worker.unref();
    this.#linger = setTimeout(() => {
      this.#gone();
      void this.#worker.terminate();
    }, LINGER).unref();
  }

  #post(message: ToHashWorker, transfer: readonly ArrayBuffer[]): void {
    this.#worker.postMessage(message, transfer);
  }

  #answer(message: FromHashWorker): void {
    if (message.type === 'read') {
      this.#jobs.get(message.job)?.(message);
      return;
    }
    this.#waiting--;
    const stream = this.#streams.get(message.stream);
    if (stream === undefined) freeMemory(message.memory);
    else stream.hashed(message);
    this.#relieve();
  }

  #relieve(): void {
    if (this.#failure === undefined && this.#waiting > MOST_WAITING) return;
    this.#relief?.resolve();
    this.#relief = undefined;
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = new ArchiveError('INTERNAL', 'the hashing thread ended', { cause });
    this.#gone();
    this.#relieve();
    for (const stream of this.#streams.values()) stream.failed(this.#failure);
    for (const told of this.#jobs.values()) told(this.#failure);
  }
}
