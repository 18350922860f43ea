import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ArchiveError } from '../contracts/errors.ts';
import { hashInPlace, type Hasher } from './hasher.ts';

/** Memory shared with the thread: so many bytes in so many pieces. */
const SLOT_SIZE = 1024 * 1024;
const SLOTS = 4;

/** Milliseconds for which an idle thread is kept: the next part of a backup begins at once. */
const LINGER = 2000;

export interface HashWorkerData {
  readonly slots: readonly Uint8Array[];
}

export type ToHashWorker =
  | { readonly type: 'update'; readonly stream: number; readonly slot: number; readonly length: number }
  | { readonly type: 'digest'; readonly stream: number }
  | { readonly type: 'forget'; readonly stream: number };

export type FromHashWorker =
  | { readonly type: 'free'; readonly slot: number }
  | { readonly type: 'digest'; readonly stream: number; readonly hex: string };

interface Waiting<Value> {
  resolve(value: Value): void;
  reject(error: unknown): void;
}

let current: HashThread | undefined;

/** A SHA-256 that is computed in a thread of its own, shared by all that run at once; in place where there is one core only. */
export function hashInThread(): Hasher {
  if (availableParallelism() < 2) return hashInPlace();
  current ??= new HashThread(() => (current = undefined));
  return current.begin();
}

/** One thread and the memory through which it is fed: the bytes are copied, at a tenth of what hashing them costs. */
class HashThread {
  readonly #slots: readonly Uint8Array[] = Array.from(
    { length: SLOTS },
    () => new Uint8Array(new SharedArrayBuffer(SLOT_SIZE)),
  );
  readonly #worker: Worker;
  readonly #free: number[] = this.#slots.map((_, index) => index);
  readonly #waitingForSlot: Waiting<number>[] = [];
  /** Each sends a piece that its stream has begun to fill. */
  readonly #partial = new Set<() => void>();
  readonly #waitingForDigest = new Map<number, Waiting<string>>();
  readonly #gone: () => void;
  #streams = 0;
  #active = 0;
  #failure: { readonly error: unknown } | undefined;
  #linger: NodeJS.Timeout | undefined;

  constructor(gone: () => void) {
    this.#gone = gone;
    // Built, the modules are chunks in one folder, and the thread is an entry of its own.
    const file = import.meta.url.endsWith('.ts') ? './hash-worker.ts' : './hash-worker.js';
    const workerData: HashWorkerData = { slots: this.#slots };
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData,
      name: 'pgark hash',
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 },
    });
    this.#worker.on('message', (message: FromHashWorker) => this.#answer(message));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(undefined));
  }

  begin(): Hasher {
    clearTimeout(this.#linger);
    this.#worker.ref();
    this.#active++;
    const stream = this.#streams++;
    let slot: number | undefined;
    let filled = 0;
    let open = true;
    const send = (): void => {
      if (slot === undefined) return;
      this.#partial.delete(send);
      this.#post({ type: 'update', stream, slot, length: filled });
      slot = undefined;
      filled = 0;
    };
    const close = (): void => {
      if (!open) return;
      open = false;
      this.#end();
    };
    return {
      update: async (chunk) => {
        for (let offset = 0; offset < chunk.byteLength;) {
          slot ??= await this.#takeSlot();
          this.#partial.add(send);
          const part = chunk.subarray(offset, offset + SLOT_SIZE - filled);
          this.#slots[slot]!.set(part, filled);
          filled += part.byteLength;
          offset += part.byteLength;
          if (filled === SLOT_SIZE) send();
        }
      },
      digest: async () => {
        try {
          send();
          return await new Promise<string>((resolve, reject) => {
            if (this.#failure !== undefined) reject(this.#failure.error);
            this.#waitingForDigest.set(stream, { resolve, reject });
            this.#post({ type: 'digest', stream });
          });
        } finally {
          close();
        }
      },
      discard: () => {
        if (!open) return;
        this.#partial.delete(send);
        if (slot !== undefined) this.#giveSlot(slot);
        this.#post({ type: 'forget', stream });
        close();
      },
    };
  }

  #post(message: ToHashWorker): void {
    // No window listens here: the rule is for browsers.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    this.#worker.postMessage(message);
  }

  #takeSlot(): Promise<number> {
    return new Promise((resolve, reject) => {
      const slot = this.#free.pop();
      if (this.#failure !== undefined) reject(this.#failure.error);
      else if (slot !== undefined) resolve(slot);
      else {
        this.#waitingForSlot.push({ resolve, reject });
        // The stream that began a piece may be fed by the one that waits here, and would never fill it.
        const [send] = this.#partial;
        send?.();
      }
    });
  }

  #giveSlot(slot: number): void {
    const waiting = this.#waitingForSlot.shift();
    if (waiting === undefined) this.#free.push(slot);
    else waiting.resolve(slot);
  }

  #answer(message: FromHashWorker): void {
    if (message.type === 'free') {
      this.#giveSlot(message.slot);
      return;
    }
    this.#waitingForDigest.get(message.stream)?.resolve(message.hex);
    this.#waitingForDigest.delete(message.stream);
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    const error = new ArchiveError('INTERNAL', 'the hashing thread ended', { cause });
    this.#failure = { error };
    this.#gone();
    for (const waiting of [...this.#waitingForSlot.splice(0), ...this.#waitingForDigest.values()])
      waiting.reject(error);
  }

  #end(): void {
    this.#active--;
    if (this.#active > 0) return;
    // An idle thread keeps no process alive.
    this.#worker.unref();
    this.#linger = setTimeout(() => {
      this.#gone();
      void this.#worker.terminate();
    }, LINGER).unref();
  }
}
