/** Storages that each break one promise of `get`, `stat`, `list`, `remove` and `close`. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ArchiveError,
  isArchiveError,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type RemoveResult,
  type PutOptions,
  type RetainOptions,
  type Storage,
} from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import type { BrokenStorage } from './broken-storages.ts';

type Body = AsyncIterable<Uint8Array>;

export const BROKEN_READS: readonly BrokenStorage[] = [
  {
    fault: 'gives an empty object for a missing one (H-59)',
    fails: ['STOR-06/not-found'],
    create: () =>
      new (class extends MemoryStorage {
        override async *get(key: string, options?: GetOptions): AsyncGenerator<Uint8Array, void, undefined> {
          try {
            yield* super.get(key, options);
          } catch (error) {
            if (!isArchiveError(error, 'STORAGE_NOT_FOUND')) throw error;
          }
        }
      })(),
  },
  {
    fault: 'ends a long body early without an error (H-59)',
    fails: ['STOR-09/bytes', 'STOR-09/chunks', 'STOR-09/large'],
    create: () =>
      new (class extends MemoryStorage {
        override async *get(key: string, options?: GetOptions): AsyncGenerator<Uint8Array, void, undefined> {
          let chunks = 0;
          for await (const chunk of super.get(key, options)) if (++chunks <= 3) yield chunk;
        }
      })(),
  },
  {
    fault: 'gives out one buffer again and again',
    fails: ['STOR-09/bytes', 'STOR-09/chunks', 'STOR-09/parallel'],
    create: () => {
      const shared = Buffer.alloc(1024 * 1024);
      return new (class extends MemoryStorage {
        override async *get(key: string, options?: GetOptions): AsyncGenerator<Uint8Array, void, undefined> {
          for await (const chunk of super.get(key, options)) {
            shared.set(chunk);
            yield shared.subarray(0, chunk.byteLength);
          }
        }
      })();
    },
  },
  {
    fault: 'gives two parts of a large object in the wrong order',
    fails: ['STOR-09/bytes', 'STOR-09/chunks', 'STOR-09/large'],
    create: () =>
      new (class extends MemoryStorage {
        override async *get(key: string, options?: GetOptions): AsyncGenerator<Uint8Array, void, undefined> {
          const chunks: Uint8Array[] = [];
          for await (const chunk of super.get(key, options)) chunks.push(chunk);
          const [fourth] = chunks.length > 4 ? chunks.splice(3, 1) : [];
          if (fourth !== undefined) chunks.splice(4, 0, fourth);
          yield* chunks;
        }
      })(),
  },
  {
    fault: 'takes offsets as numbers of 22 bits',
    fails: ['STOR-09/large'],
    create: () =>
      new (class extends MemoryStorage {
        override get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
          const { start = 0, end } = options.range ?? {};
          if (options.range === undefined || start < 2 ** 22) return super.get(key, options);
          const from = start % 2 ** 22;
          return super.get(key, {
            ...options,
            range: { start: from, ...(end !== undefined && { end: from + end - start }) },
          });
        }
      })(),
  },
  {
    fault: 'takes the end of a range as inclusive',
    fails: ['STOR-10/ranges'],
    create: () =>
      new (class extends MemoryStorage {
        override get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
          const { range, ...rest } = options;
          if (range?.end === undefined || range.end < range.start) return super.get(key, options);
          return super.get(key, { ...rest, range: { start: range.start, end: range.end + 1 } });
        }
      })(),
  },
  {
    fault: 'gives nothing for a range behind the end',
    fails: ['STOR-10/outside'],
    create: () =>
      new (class extends MemoryStorage {
        override async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
          try {
            yield* super.get(key, options);
          } catch (error) {
            if (!isArchiveError(error, 'STORAGE_INVALID_KEY')) throw error;
          }
        }
      })(),
  },
  {
    fault: 'does not free the connection of a get that is left early',
    fails: ['STOR-11/leave'],
    create: () => {
      let free = 10;
      return new (class extends MemoryStorage {
        override async *get(key: string, options?: GetOptions): AsyncGenerator<Uint8Array, void, undefined> {
          if (free === 0) throw new ArchiveError('STORAGE_UNAVAILABLE', 'no connection is free');
          free -= 1;
          for await (const chunk of super.get(key, options)) yield chunk;
          free += 1;
        }
      })();
    },
  },
  {
    fault: 'sorts by UTF-16 units',
    fails: ['STOR-12/order'],
    create: () => sorting((left, right) => (left < right ? -1 : 1)),
  },
  {
    fault: 'sorts by parts of the path',
    fails: ['STOR-12/order', 'STOR-12/many', 'STOR-12/lazy', 'STOR-12/changing'],
    create: () => sorting((left, right) => (left.replaceAll('/', '\0') < right.replaceAll('/', '\0') ? -1 : 1)),
  },
  {
    fault: 'gives only the first page of a listing',
    fails: ['STOR-12/many', 'STOR-12/changing'],
    create: () =>
      new (class extends MemoryStorage {
        override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
          let entries = 0;
          for await (const entry of super.list(prefix, options)) if (++entries <= 70) yield entry;
        }
      })(),
  },
  {
    fault: 'begins with startAfter itself',
    fails: ['STOR-12/many', 'STOR-12/start-after'],
    create: () =>
      new (class extends MemoryStorage {
        override async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
          const { startAfter } = options;
          const present =
            startAfter?.startsWith(prefix) === true && (await this.stat(startAfter).catch(() => undefined));
          if (typeof present === 'object') yield present;
          yield* super.list(prefix, options);
        }
      })(),
  },
  {
    fault: 'takes a prefix for a folder',
    fails: ['STOR-12/prefix'],
    create: () =>
      new (class extends MemoryStorage {
        override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
          for await (const entry of super.list(prefix, options)) {
            if (prefix === '' || prefix.endsWith('/') || entry.key.startsWith(`${prefix}/`)) yield entry;
          }
        }
      })(),
  },
  {
    fault: 'fails to remove what is not there',
    fails: ['STOR-14/missing'],
    create: () =>
      new (class extends MemoryStorage {
        override async remove(keys: readonly string[], options?: CallOptions): Promise<RemoveResult> {
          for (const key of keys) await this.stat(key);
          return super.remove(keys, options);
        }
      })(),
  },
  {
    fault: 'declares retention and does not enforce it',
    fails: ['STOR-14/retained'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, { retainUntil, ...options }: PutOptions): Promise<void> {
          void retainUntil;
          return super.put(key, body, options);
        }
      })(),
  },
  {
    fault: 'says that it locks, and does not',
    fails: ['STOR-19/extend'],
    create: () =>
      new (class extends MemoryStorage {
        override async retain(key: string, until: Date, options?: RetainOptions): Promise<Date> {
          const held = await super.retain(key, new Date(0));
          return held >= (options?.ifBefore ?? until) || held >= until ? held : until;
        }
      })(),
  },
  {
    fault: 'extends a lock that ends late enough',
    fails: ['STOR-19/shorten'],
    create: () =>
      new (class extends MemoryStorage {
        override retain(key: string, until: Date): Promise<Date> {
          return super.retain(key, until);
        }
      })(),
  },
  {
    fault: 'says that it has shortened a lock',
    fails: ['STOR-19/extend', 'STOR-19/shorten'],
    create: () =>
      new (class extends MemoryStorage {
        override async retain(key: string, until: Date, options?: RetainOptions): Promise<Date> {
          await super.retain(key, until, options);
          return until;
        }
      })(),
  },
  {
    fault: 'locks what is not there',
    fails: ['STOR-19/missing'],
    create: () =>
      new (class extends MemoryStorage {
        override async retain(key: string, until: Date, options?: RetainOptions): Promise<Date> {
          return super.retain(key, until, options).catch(() => until);
        }
      })(),
  },
  {
    fault: 'shows the present as the past',
    fails: ['STOR-20/past', 'STOR-20/read-only'],
    create: () =>
      new (class extends MemoryStorage {
        override asOf(): Storage {
          return this;
        }
      })(),
  },
  {
    fault: 'shows what was removed as gone for ever',
    fails: ['STOR-20/past'],
    create: () => {
      const storage = new MemoryStorage({ versions: true });
      return new (class extends MemoryStorage {
        override put(...call: Parameters<Storage['put']>): Promise<void> {
          return storage.put(...call);
        }
        override get(...call: Parameters<Storage['get']>): AsyncGenerator<Uint8Array, void, undefined> {
          return storage.get(...call);
        }
        override stat(...call: Parameters<Storage['stat']>): Promise<ObjectInfo> {
          return storage.stat(...call);
        }
        override list(...call: Parameters<Storage['list']>): AsyncGenerator<ObjectInfo, void, undefined> {
          return storage.list(...call);
        }
        override remove(...call: Parameters<Storage['remove']>): Promise<RemoveResult> {
          return storage.remove(...call);
        }
        override asOf(moment: Date): Storage {
          const past = storage.asOf(moment);
          const present = storage;
          return {
            capabilities: past.capabilities,
            put: (...call) => past.put(...call),
            get: (...call) => past.get(...call),
            stat: (...call) => past.stat(...call),
            async *list(...call) {
              for await (const info of past.list(...call)) {
                if (
                  await present.stat(info.key).then(
                    () => true,
                    () => false,
                  )
                )
                  yield info;
              }
            },
            remove: (...call) => past.remove(...call),
            close: () => past.close(),
          };
        }
      })();
    },
  },
  {
    fault: 'removes at most 100 keys',
    fails: ['STOR-14/many'],
    create: () =>
      new (class extends MemoryStorage {
        override remove(keys: readonly string[], options?: CallOptions): Promise<RemoveResult> {
          return super.remove(keys.slice(0, 100), options);
        }
      })(),
  },
  {
    fault: 'removes all keys with the prefix (H-57)',
    fails: ['STOR-15/exact'],
    create: () =>
      new (class extends MemoryStorage {
        override async remove(keys: readonly string[], options?: CallOptions): Promise<RemoveResult> {
          const all: string[] = [];
          for (const key of keys) for await (const entry of this.list(key)) all.push(entry.key);
          return super.remove(all, options);
        }
      })(),
  },
  {
    fault: 'fails to close twice',
    fails: ['STOR-16/close'],
    create: () => {
      let closed = false;
      return new (class extends MemoryStorage {
        override async close(): Promise<void> {
          // The suite closes after every clause, so the second failure is told once.
          if (closed) {
            closed = false;
            throw new ArchiveError('INTERNAL', 'closed twice');
          }
          closed = true;
        }
      })();
    },
  },
  {
    fault: 'works on after close',
    fails: ['STOR-16/close'],
    create: () =>
      new (class extends MemoryStorage {
        override async close(): Promise<void> {
          await sleep(0);
        }
      })(),
  },
];

function sorting(compare: (left: string, right: string) => number): Storage {
  return new (class extends MemoryStorage {
    override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
      const entries: ObjectInfo[] = [];
      for await (const entry of super.list(prefix, options)) entries.push(entry);
      yield* entries.sort((left, right) => compare(left.key, right.key));
    }
  })();
}
