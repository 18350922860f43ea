/** Storages that each break a promise about what was there before a call, or comes after it. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ArchiveError,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type PutOptions,
  type RemoveResult,
} from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import type { BrokenStorage } from './broken-storages.ts';

type Body = AsyncIterable<Uint8Array>;

export const BROKEN_SEQUENCES: readonly BrokenStorage[] = [
  {
    fault: 'takes keys of 255 bytes only',
    fails: ['STOR-01/longest'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          if (Buffer.byteLength(key) > 255) throw new ArchiveError('STORAGE_INVALID_KEY', `${key} is too long`);
          await super.put(key, body, options);
        }
      })(),
  },
  {
    fault: 'removes although the signal has fired',
    fails: ['STOR-04/before'],
    create: () =>
      new (class extends MemoryStorage {
        override remove(keys: readonly string[]): Promise<RemoveResult> {
          return super.remove(keys);
        }
      })(),
  },
  {
    fault: 'says ABORTED of what it has stored',
    fails: ['STOR-04/any-time'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          await super.put(key, body, options);
          await sleep(5);
          throwIfAborted(options.signal, `storing ${key}`);
        }
      })(),
  },
  {
    fault: 'takes an object away when the signal of its put fires late',
    fails: ['STOR-04/any-time', 'STOR-04/after'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          await super.put(key, body, options);
          options.signal?.addEventListener('abort', () => void this.remove([key]));
        }
      })(),
  },
  {
    fault: 'never replaces an object',
    fails: ['STOR-05/replace'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, options: PutOptions): Promise<void> {
          return super.put(key, body, { ...options, ifAbsent: true });
        }
      })(),
  },
  {
    fault: 'keeps its objects to itself',
    fails: ['STOR-07/reopen'],
    create: () => new MemoryStorage(),
    options: () => ({ reopen: async () => new MemoryStorage() }),
  },
  {
    fault: 'says that a range of what is not there is outside',
    fails: ['STOR-10/not-found'],
    create: () =>
      new (class extends MemoryStorage {
        override async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
          const size = await this.stat(key, options).then(
            (info) => info.size,
            () => 0,
          );
          const { start = 0 } = options.range ?? {};
          if (start > 0 && start >= size) throw new ArchiveError('STORAGE_INVALID_KEY', `${key} has no byte ${start}`);
          yield* super.get(key, options);
        }
      })(),
  },
  {
    fault: 'lists an object as if it were a folder',
    fails: ['STOR-13/empty'],
    create: () =>
      new (class extends MemoryStorage {
        override list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
          return super.list(prefix.replace(/\/$/, ''), options);
        }
      })(),
  },
  {
    fault: 'never gives a name again that was removed',
    fails: ['STOR-15/again'],
    create: () => {
      const gone = new Set<string>();
      return new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          if (gone.has(key)) throw new ArchiveError('STORAGE_EXISTS', `${key} was removed`);
          await super.put(key, body, options);
        }
        override remove(keys: readonly string[], options?: CallOptions): Promise<RemoveResult> {
          for (const key of keys) gone.add(key);
          return super.remove(keys, options);
        }
      })();
    },
  },
  {
    fault: 'removes a folder that became empty, with what came into it meanwhile',
    fails: ['STOR-15/racing'],
    create: () =>
      new (class extends MemoryStorage {
        override async remove(keys: readonly string[], options?: CallOptions): Promise<RemoveResult> {
          const result = await super.remove(keys, options);
          for (const folder of new Set(keys.map((key) => key.slice(0, key.lastIndexOf('/') + 1)))) {
            if ((await this.#below(folder)).length > 0) continue;
            await sleep(1);
            await super.remove(await this.#below(folder));
          }
          return result;
        }
        async #below(folder: string): Promise<readonly string[]> {
          const keys: string[] = [];
          for await (const { key } of this.list(folder)) keys.push(key);
          return keys;
        }
      })(),
  },
];
