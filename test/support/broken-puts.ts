/** Storages that each break one promise of keys and of `put`. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ArchiveError,
  isArchiveError,
  putStep,
  releaseChunk,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type PutOptions,
  type Storage,
} from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import type { BrokenStorage } from './broken-storages.ts';

type Body = AsyncIterable<Uint8Array>;

export const BROKEN_PUTS: readonly BrokenStorage[] = [
  {
    fault: 'drops what is stored under an invalid key without a word',
    fails: ['STOR-01/refused'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          await super.put(key, body, options).catch((error: unknown) => {
            if (!isArchiveError(error, 'STORAGE_INVALID_KEY')) throw error;
          });
        }
      })(),
  },
  {
    fault: 'folds keys to lower case',
    fails: ['STOR-01/odd', 'STOR-01/case'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, options: PutOptions): Promise<void> {
          return super.put(key.toLowerCase(), body, options);
        }
        override get(key: string, options?: GetOptions): AsyncGenerator<Uint8Array, void, undefined> {
          return super.get(key.toLowerCase(), options);
        }
        override stat(key: string, options?: CallOptions): Promise<ObjectInfo> {
          return super.stat(key.toLowerCase(), options);
        }
      })(),
  },
  {
    fault: 'keeps what came before the body failed',
    fails: ['STOR-02/throws', 'STOR-02/replace'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          let failure: { error: unknown } | undefined;
          await super.put(
            key,
            cutAtError(body, (error) => (failure = { error })),
            options,
          );
          if (failure !== undefined) throw failure.error;
        }
      })(),
  },
  {
    fault: "wraps the body's error",
    fails: ['STOR-02/throws', 'STOR-02/replace'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          await super.put(key, body, options).catch((error: unknown) => {
            if (isArchiveError(error)) throw error;
            throw new ArchiveError('STORAGE_UNAVAILABLE', `storing ${key} failed`, { cause: error });
          });
        }
      })(),
  },
  {
    fault: 'does not compare the length with size',
    fails: ['STOR-03/size'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, { size, ...options }: PutOptions): Promise<void> {
          void size;
          return super.put(key, body, options);
        }
      })(),
  },
  {
    fault: 'looks at the signal only before it begins',
    fails: ['STOR-04/silent', 'STOR-04/during', 'STOR-04/end', 'STOR-04/get', 'STOR-04/list'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, { signal, ...options }: PutOptions): Promise<void> {
          return super.put(key, body, signal?.aborted === true ? { ...options, signal } : options);
        }
        override get(
          key: string,
          { signal, ...options }: GetOptions = {},
        ): AsyncGenerator<Uint8Array, void, undefined> {
          return super.get(key, signal?.aborted === true ? { ...options, signal } : options);
        }
        override list(
          prefix: string,
          { signal, ...options }: ListOptions = {},
        ): AsyncGenerator<ObjectInfo, void, undefined> {
          return super.list(prefix, signal?.aborted === true ? { ...options, signal } : options);
        }
      })(),
  },
  {
    fault: 'rejects an aborted put but writes on behind it',
    fails: ['STOR-04/silent', 'STOR-04/during', 'STOR-04/end'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          const kept: Uint8Array[] = [];
          try {
            await super.put(key, copying(body, kept), options);
          } catch (error) {
            if (isArchiveError(error, 'ABORTED') && kept.length > 0) {
              setTimeout(() => void super.put(key, from(kept), { ifAbsent: true }).catch(() => undefined), 10);
            }
            throw error;
          }
        }
      })(),
  },
  {
    fault: 'ignores ifAbsent',
    fails: ['STOR-05/exists', 'STOR-05/race'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, options: PutOptions): Promise<void> {
          return super.put(key, body, { ...options, ifAbsent: false });
        }
      })(),
  },
  {
    fault: 'looks whether the key exists, then writes (H-52)',
    fails: ['STOR-05/race'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          if (options.ifAbsent && (await this.stat(key).catch(() => undefined)) !== undefined) {
            throw new ArchiveError('STORAGE_EXISTS', `${key} exists`);
          }
          await super.put(key, body, { ...options, ifAbsent: false });
        }
      })(),
  },
  {
    fault: 'returns from put before the object is there',
    fails: ['STOR-07/visible', 'STOR-07/parallel', 'STOR-07/metadata'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          const kept: Uint8Array[] = [];
          for await (const chunk of copying(body, kept)) void chunk;
          setTimeout(() => void super.put(key, from(kept), options).catch(() => undefined), 20);
        }
      })(),
  },
  {
    fault: 'drops metadata that it declares',
    fails: ['STOR-07/metadata'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, { metadata, ...options }: PutOptions): Promise<void> {
          void metadata;
          return super.put(key, body, options);
        }
      })(),
  },
  {
    fault: 'makes no object of an empty body',
    fails: ['STOR-08/empty'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          const kept: Uint8Array[] = [];
          for await (const chunk of copying(body, kept)) void chunk;
          if (Buffer.concat(kept).byteLength > 0) await super.put(key, from(kept), options);
        }
      })(),
  },
  {
    fault: 'shows an object while it is being written (H-58)',
    fails: ['STOR-13/writing'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          await super.put(key, from([]), { ifAbsent: options.ifAbsent });
          await super.put(key, body, { ...options, ifAbsent: false });
        }
      })(),
  },
  {
    fault: 'releases a chunk before it has stored it',
    fails: ['STOR-17/leased'],
    create: () =>
      new (class extends MemoryStorage {
        override put(key: string, body: Body, options: PutOptions): Promise<void> {
          return super.put(key, releasedEarly(body), options);
        }
      })(),
  },
  {
    fault: 'keeps the chunks of the body',
    fails: ['STOR-17/unchanged'],
    create: () => {
      const kept = new Map<string, Uint8Array[]>();
      return new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          const chunks: Uint8Array[] = [];
          await super.put(key, keeping(body, chunks), options);
          kept.set(key, chunks);
        }
        override async *get(key: string): AsyncGenerator<Uint8Array, void, undefined> {
          yield* kept.get(key) ?? [];
        }
      })();
    },
  },
  {
    fault: 'takes its own object for that of another writer when it sends a step again',
    fails: ['STOR-18/again', 'STOR-18/overlap', 'STOR-18/overlap-parts', 'STOR-18/over'],
    create: () => repeating(() => false),
  },
  {
    fault: 'takes any object for its own when it sends a step again',
    fails: ['STOR-18/over', 'STOR-18/theirs'],
    create: () => repeating((error) => isArchiveError(error, 'STORAGE_EXISTS')),
  },
  {
    fault: 'does not cancel a step',
    fails: ['STOR-18/over'],
    create: () =>
      inOneStep(
        async (bytes) => bytes,
        () => new AbortController().signal,
      ),
  },
  {
    fault: 'goes on with a step that was given up, beside the next attempt',
    fails: ['STOR-18/overlap', 'STOR-18/overlap-parts'],
    create: () =>
      inOneStep(async (bytes, options) => {
        const sent: Buffer[] = [];
        await putStep(options, { name: 'bytes' }, async () => {
          sent.length = 0;
          await sleep(STALL);
          sent.push(bytes);
        });
        return Buffer.concat(sent);
      }),
  },
  {
    fault: 'writes into the object when a step that was given up wakes up after the end of the put',
    fails: ['STOR-18/overlap', 'STOR-18/overlap-parts'],
    create: () =>
      inOneStep(async (bytes, options, write) => {
        let attempts = 0;
        await putStep(options, { name: 'bytes' }, async (signal) => {
          if (++attempts > 1) return;
          await sleep(3 * STALL);
          if (signal.aborted) await write(bytes.subarray(1));
        });
        return bytes;
      }),
  },
  {
    fault: 'stores the object all the same when a step is given up',
    fails: ['STOR-18/failed', 'STOR-18/over', 'STOR-18/theirs'],
    create: () =>
      new (class extends MemoryStorage {
        override async put(key: string, body: Body, options: PutOptions): Promise<void> {
          await super.put(key, body, options);
          await putStep(options, { name: 'nothing' }, async () => undefined);
        }
      })(),
  },
];

/** Puts the whole body in one step; `isDone` says what counts as success when it was sent before. */
function repeating(isDone: (error: unknown) => boolean): Storage {
  return new (class extends MemoryStorage {
    override async put(key: string, body: Body, options: PutOptions): Promise<void> {
      const kept: Uint8Array[] = [];
      for await (const chunk of copying(body, kept)) void chunk;
      let sent = 0;
      await putStep(options, { name: 'whole' }, async () => {
        sent++;
        await super.put(key, from(kept), options).catch((error: unknown) => {
          if (sent === 1 || !isDone(error)) throw error;
        });
      });
    }
  })();
}

/** Milliseconds for which a step stands still. */
const STALL = 20;

/** Gives the bytes that are to be stored. `write` replaces the object, if it is there. */
type Prepare = (bytes: Buffer, options: PutOptions, write: (bytes: Uint8Array) => Promise<void>) => Promise<Buffer>;

/** Puts the whole body in one step, which looks first whether an earlier attempt has done it; `signalOf` says what cancels the write. */
function inOneStep(prepare: Prepare, signalOf: (signal: AbortSignal) => AbortSignal = (signal) => signal): Storage {
  return new (class extends MemoryStorage {
    override async put(key: string, body: Body, options: PutOptions): Promise<void> {
      const replace = async (changed: Uint8Array): Promise<void> => {
        await super.stat(key).then(
          () => super.put(key, from([changed]), { ifAbsent: false }),
          () => undefined,
        );
      };
      const bytes = await prepare(await gathered(body), options, replace);
      let sent = false;
      await putStep(options, { name: 'whole' }, async (signal) => {
        const isThere = async (): Promise<boolean> => {
          const stored = await gathered(super.get(key)).catch(() => undefined);
          if (stored !== undefined && !stored.equals(bytes)) throw new ArchiveError('STORAGE_EXISTS', `${key} exists`);
          return stored !== undefined;
        };
        if (sent && (await isThere())) return;
        const again = sent;
        sent = true;
        await super.put(key, from([bytes]), { ...options, signal: signalOf(signal) }).catch(async (error: unknown) => {
          if (!again || !isArchiveError(error, 'STORAGE_EXISTS') || !(await isThere())) throw error;
        });
      });
    }
  })();
}

async function gathered(body: Body): Promise<Buffer> {
  const kept: Uint8Array[] = [];
  for await (const chunk of copying(body, kept)) void chunk;
  return Buffer.concat(kept);
}

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunks;
}

async function* cutAtError(body: Body, tell: (error: unknown) => void): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } catch (error) {
    tell(error);
  }
}

async function* releasedEarly(body: Body): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of body) {
    releaseChunk(chunk);
    yield Buffer.from(chunk);
  }
}

async function* keeping(body: Body, kept: Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of body) {
    kept.push(chunk);
    yield chunk;
  }
}

async function* copying(body: Body, kept: Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of body) {
    kept.push(Buffer.from(chunk));
    yield chunk;
  }
}
