/** Storages that say something else than the truth when they are in trouble (STOR-06). */
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, type PutOptions, type Storage } from '@pgark/sdk';
import type { SlowStorage } from '@pgark/sdk/testing';
import { MemoryStorage } from '@pgark/storage-memory';
import type { BrokenStorage } from './broken-storages.ts';

type Body = AsyncIterable<Uint8Array>;

type Pause = (at: number, hasStopped: boolean) => Promise<unknown>;

/** Gives 100 bytes at a time, and pauses before each. */
class SlowMemoryStorage extends MemoryStorage {
  readonly #pause: Pause;
  hasStopped = false;

  constructor(pause: Pause) {
    super();
    this.#pause = pause;
  }

  override async *get(key: string): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of super.get(key)) {
      for (let at = 0; at < chunk.byteLength; at += 100) {
        await this.#pause(at, this.hasStopped);
        yield chunk.subarray(at, at + 100);
      }
    }
  }
}

const empty = async (): Promise<Storage> => new MemoryStorage();
const EMPTY = { missing: empty, denied: empty, credentials: empty, unavailable: empty, silent: empty };

export const BROKEN_PLACES: readonly BrokenStorage[] = [
  {
    fault: 'says "not found" when its root is missing, and whatever else is the matter (H-50)',
    fails: Object.keys(EMPTY).map((name) => `STOR-06/${name}`),
    create: () => new MemoryStorage(),
    options: () => ({ broken: EMPTY }),
  },
  {
    fault: 'takes what there is no room for',
    fails: ['STOR-06/full'],
    create: () => new MemoryStorage(),
    options: () => full(new MemoryStorage()),
  },
  {
    fault: 'calls it a refusal that there is no room',
    fails: ['STOR-06/full'],
    create: () => new MemoryStorage(),
    options: () =>
      full(
        new (class extends MemoryStorage {
          override async put(key: string, body: Body, options: PutOptions): Promise<void> {
            const kept: Uint8Array[] = [];
            for await (const chunk of body) kept.push(chunk);
            if (kept.length > 3) throw new ArchiveError('STORAGE_DENIED', `storing ${key} was refused`);
            await super.put(key, from(kept), options);
          }
        })(),
      ),
  },
  {
    fault: 'is quick and is said to be slow',
    ...slow(async () => undefined),
    says: 'was not slow',
  },
  {
    fault: 'does not notice that its peer has stopped',
    ...slow((_, hasStopped) => (hasStopped ? new Promise(() => undefined) : sleep(40))),
    says: 'get hangs',
  },
  {
    fault: 'gives up although its peer moves',
    ...slow(async (at) => {
      await sleep(40);
      if (at > 0) throw new ArchiveError('STORAGE_UNAVAILABLE', 'no patience');
    }),
    says: 'no patience',
  },
];

function full(storage: Storage): ReturnType<NonNullable<BrokenStorage['options']>> {
  return { broken: { full: async () => storage } };
}

function slow(pause: Pause): Pick<BrokenStorage, 'fails' | 'create' | 'options'> {
  // The slow place is that of the storage that the clause has from `create`.
  let storage = new SlowMemoryStorage(pause);
  const place = async (): Promise<SlowStorage> => {
    const opened = storage;
    return { storage: opened, rate: 3000, stallTimeout: 100, stop: () => (opened.hasStopped = true) };
  };
  return {
    fails: ['STOR-06/slow'],
    create: () => (storage = new SlowMemoryStorage(pause)),
    options: () => ({ broken: { slow: place } }),
  };
}

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunks;
}
