import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ArchiveError } from '@pgark/sdk';
import type { Block, BlockResult } from './chunks.ts';

export interface ToChunkWorker {
  readonly job: number;
  readonly direction: 'seal' | 'open';
  readonly block: Block;
  readonly key: Uint8Array;
}

export interface FromChunkWorker {
  readonly job: number;
  /** The memory of the block, which goes to the thread and comes back: nothing is copied. */
  readonly memory: Uint8Array;
  readonly result: BlockResult;
}

type Done = Pick<FromChunkWorker, 'memory' | 'result'>;

/** More would take cores from compression, and none of them would wait for less. */
const MOST = 4;

/** Milliseconds for which an idle thread is kept: the next part of a backup begins at once. */
const LINGER = 2000;

const threads = new Set<ChunkThread>();

/**
 * How many threads can work at once; 0 where there is one core only. One core is left to all else: one thread seals as much as that can
 * read, hash and write, and each one more takes 10 MB of memory.
 */
export function threadLimit(): number {
  return Math.min(MOST, availableParallelism() - 1);
}

/** Seals or opens a block in one of the threads, which all streams share. Its memory is gone from here until the call resolves. */
export function runInThread(work: Omit<ToChunkWorker, 'job'>): Promise<Done> {
  let chosen: ChunkThread | undefined;
  for (const thread of threads) if (chosen === undefined || thread.jobs < chosen.jobs) chosen = thread;
  if (chosen === undefined || (chosen.jobs > 0 && threads.size < threadLimit())) {
    chosen = new ChunkThread((gone) => threads.delete(gone));
    threads.add(chosen);
  }
  return chosen.run(work);
}

class ChunkThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve(done: Done): void; reject(error: unknown): void }>();
  readonly #gone: (thread: ChunkThread) => void;
  #job = 0;
  #failure: { readonly error: unknown } | undefined;
  #linger: NodeJS.Timeout | undefined;

  constructor(gone: (thread: ChunkThread) => void) {
    this.#gone = gone;
    // Built, the modules are chunks in one folder, and the thread is an entry of its own.
    const file = import.meta.url.endsWith('.ts') ? './chunk-worker.ts' : './chunk-worker.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      name: 'pgark age',
      execArgv: [],
      // What it works on lies outside of the heap.
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 },
    });
    this.#worker.on('message', (message: FromChunkWorker) => this.#answer(message));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(undefined));
  }

  /** Blocks that it has not answered yet. */
  get jobs(): number {
    return this.#waiting.size;
  }

  run({ direction, block, key }: Omit<ToChunkWorker, 'job'>): Promise<Done> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure.error);
        return;
      }
      clearTimeout(this.#linger);
      this.#worker.ref();
      const job = this.#job++;
      this.#waiting.set(job, { resolve, reject });
      const message: ToChunkWorker = { job, direction, block, key };
      this.#worker.postMessage(message, [block.memory.buffer as ArrayBuffer]);
    });
  }

  #answer({ job, memory, result }: FromChunkWorker): void {
    this.#waiting.get(job)?.resolve({ memory, result });
    this.#waiting.delete(job);
    if (this.#waiting.size > 0) return;
    // An idle thread keeps no process alive.
    this.#worker.unref();
    this.#linger = setTimeout(() => {
      this.#gone(this);
      void this.#worker.terminate();
    }, LINGER).unref();
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    const error = new ArchiveError('INTERNAL', 'a thread that encrypts ended', { cause });
    this.#failure = { error };
    clearTimeout(this.#linger);
    this.#gone(this);
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
