import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ArchiveError, putStep, type Storage } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test } from 'vitest';
import type { StorageCall } from '../../src/storage/observe.ts';
import { storageStack } from '../../src/storage/stack.ts';
import { withWatchdog } from '../../src/storage/watchdog.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';

const STALL = 100;
const never = (): Promise<never> => new Promise(() => undefined);

/** A storage that never answers, and heeds no signal. */
function deaf(): Storage {
  const stream = { [Symbol.asyncIterator]: () => ({ next: never, return: never }) };
  return {
    capabilities: { conditionalPut: true, retention: false, metadata: false },
    put: never,
    get: () => stream,
    stat: never,
    list: () => stream,
    remove: never,
    close: never,
  };
}

async function* chunks(count: number, pause = 0): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < count; at++) {
    await sleep(pause);
    yield Buffer.from([at]);
  }
}

async function* large(count: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < count; at++) yield new Uint8Array(100_000);
}

async function drain(items: AsyncIterable<unknown>, pause = 0): Promise<number> {
  let count = 0;
  for await (const _ of items) {
    count++;
    await sleep(pause);
  }
  return count;
}

const stalls = expect.objectContaining({ code: 'STORAGE_UNAVAILABLE', retriable: true });

describe('withWatchdog', () => {
  test('H-54 no call waits for ever for a peer that is gone', async () => {
    const storage = withWatchdog(deaf(), { stall: STALL });
    const calls: Record<string, () => Promise<unknown>> = {
      put: () => storage.put('key', chunks(1), { ifAbsent: true }),
      get: () => drain(storage.get('key')),
      stat: () => storage.stat('key'),
      list: () => drain(storage.list('')),
      remove: () => storage.remove(['key']),
      close: () => storage.close(),
    };
    for (const [name, call] of Object.entries(calls)) await expect(call(), name).rejects.toEqual(stalls);
  });

  test('a get or a put that stands still in its middle fails, and the back end is told', async () => {
    let told: unknown;
    const storage = withWatchdog(
      {
        ...deaf(),
        put: async (_key, body, { signal }) => {
          signal?.addEventListener('abort', () => (told = signal.reason));
          for await (const _ of body) break;
          return never();
        },
        async *get() {
          yield Buffer.from('begin');
          await never();
        },
      },
      { stall: STALL },
    );
    await expect(storage.put('key', chunks(3), { ifAbsent: true })).rejects.toEqual(stalls);
    expect(told).toEqual(stalls);
    const received: string[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of storage.get('key')) received.push(Buffer.from(chunk).toString());
    };
    await expect(read()).rejects.toEqual(stalls);
    expect(received).toEqual(['begin']);
  });

  test('what moves, however slowly, is left alone, and so is a slow producer or reader', async () => {
    const stall = 4 * STALL; // a loaded machine may add half of it to each pause
    const memory = new MemoryStorage();
    const storage = withWatchdog(memory, { stall });
    await storage.put('key', chunks(3, stall * 1.5), { ifAbsent: true });
    const slow = withWatchdog(
      {
        ...deaf(),
        get: () => chunks(4, stall * 0.4),
        put: async (_key, body) => {
          await drain(body, stall * 0.4);
        },
      },
      { stall },
    );
    expect(await drain(slow.get('key'), stall * 1.5)).toBe(4);
    await slow.put('key', chunks(4), { ifAbsent: true });
  });

  test('leaving a loop early ends the call, also where the peer stands still then', async () => {
    const storage = withWatchdog(
      {
        ...deaf(),
        get: () => ({
          [Symbol.asyncIterator]: () => ({ next: async () => ({ value: Buffer.alloc(1) }), return: never }),
        }),
      },
      { stall: STALL },
    );
    const leave = async (): Promise<void> => {
      for await (const _ of storage.get('key')) break;
    };
    await expect(leave()).rejects.toEqual(stalls);
  });

  test('what was read is not kept until the end of the call', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const storage: Storage = { ...deaf(), get: () => large(64) };
    const reading = withWatchdog(storage, { stall: 60_000 }).get('key')[Symbol.asyncIterator]();
    const held: WeakRef<Uint8Array>[] = [];
    while (held.length < 50) {
      const step = await reading.next();
      if (step.done !== true) held.push(new WeakRef(step.value));
    }
    await sleep(0);
    collect();
    // The call is under way still. The last chunk or two may be on the stack of somebody.
    expect(held.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(5);
    await reading.return?.();
  });

  test("an abort is the caller's, and comes as such", async () => {
    const abort = new AbortController();
    const storage = withWatchdog(
      {
        ...deaf(),
        stat: (_key, options) =>
          new Promise((_resolve, reject) => {
            options?.signal?.addEventListener('abort', () => reject(new ArchiveError('ABORTED', 'cancelled')));
          }),
      },
      { stall: 10_000 },
    );
    const call = storage.stat('key', { signal: abort.signal });
    abort.abort();
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('steps that stand still are cancelled and tried again, while the put waits longer than a stall', async () => {
    const calls: StorageCall[] = [];
    const cancelled: unknown[] = [];
    let body = 0;
    const backEnd: Storage = {
      ...deaf(),
      put: async (_key, source, options) => {
        body = await drain(source);
        const part = (number: number): Promise<unknown> => {
          let attempts = 0;
          return putStep(options, { name: `part ${number}` }, async (signal) => {
            signal.addEventListener('abort', () => cancelled.push(signal.reason));
            if (++attempts < 3) await never();
          });
        };
        await Promise.all([part(1), part(2)]);
        expect(options.signal?.aborted).toBe(false);
      },
    };
    const storage = storageStack(backEnd, {
      logger: silentLogger,
      stallTimeout: STALL,
      retry: { firstDelay: STALL * 3, longestDelay: STALL * 3 },
      onCall: (call) => calls.push(call),
    });
    await storage.put('key', chunks(2), { ifAbsent: true });
    expect(body).toBe(2);
    expect(cancelled).toEqual([stalls, stalls, stalls, stalls]);
    const told = calls.map(({ call, step, failed }) => `${call} ${step ?? 'whole'} ${failed ?? 'done'}`);
    const lost = 'STORAGE_UNAVAILABLE';
    expect(told.toSorted()).toEqual([
      ...[1, 2].flatMap((part) => [`put part ${part} ${lost}`, `put part ${part} ${lost}`, `put part ${part} done`]),
      'put whole done',
    ]);
  });

  test('a step that does not heed its signal ends all the same, and so does a put that stands still beside its steps', async () => {
    const deafStep = { ...deaf(), put: (_key, _body, options) => putStep(options, { name: 'part' }, never) } as Storage;
    const storage = (backEnd: Storage): Storage =>
      storageStack(backEnd, { logger: silentLogger, stallTimeout: STALL, retry: { deadline: 0 } });
    await expect(storage(deafStep).put('key', chunks(1), { ifAbsent: true })).rejects.toEqual(stalls);
    const deafAfter = {
      ...deaf(),
      put: async (_key, _body, options) => {
        await putStep(options, { name: 'part' }, async () => undefined);
        await never();
      },
    } as Storage;
    await expect(storage(deafAfter).put('key', chunks(1), { ifAbsent: true })).rejects.toEqual(stalls);
  });

  test('a step that stands still is noticed while the body trickles and other steps begin and end', async () => {
    let trickled = 0;
    let ended = 0;
    const noticed = new AbortController();
    const backEnd: Storage = {
      ...deaf(),
      put: async (_key, source, options) => {
        let attempts = 0;
        const dead = putStep(options, { name: 'dead' }, async () => (++attempts === 1 ? never() : undefined));
        void dead.then(() => noticed.abort());
        for await (const _ of source) {
          await putStep(options, { name: 'alive' }, async () => ended++);
        }
        await dead;
      },
    };
    async function* trickle(): AsyncGenerator<Uint8Array, void, undefined> {
      const since = performance.now();
      // Far longer than a stall, should nobody notice.
      while (!noticed.signal.aborted && performance.now() - since < STALL * 50) {
        await sleep(STALL / 10);
        trickled++;
        yield Buffer.alloc(1);
      }
    }
    const storage = storageStack(backEnd, { logger: silentLogger, stallTimeout: STALL, retry: { firstDelay: 1 } });
    await storage.put('key', trickle(), { ifAbsent: true });
    expect([noticed.signal.aborted, ended]).toEqual([true, trickled]);
    expect(trickled).toBeLessThan(200);
  });

  test('a step whose bytes move has all the time it needs, and no more than a stall after the last of them', async () => {
    const backEnd = (moves: number, after: () => Promise<unknown>): Storage => ({
      ...deaf(),
      put: (_key, _body, options) =>
        putStep(options, { name: 'part' }, async (_signal, moved) => {
          for (let at = 0; at < moves; at++) {
            await sleep(STALL * 0.4);
            moved();
          }
          await after();
          // Of no concern any more.
          moved();
        }),
    });
    const open = (moves: number, after: () => Promise<unknown>): Storage =>
      storageStack(backEnd(moves, after), { logger: silentLogger, stallTimeout: STALL, retry: { deadline: 0 } });
    const since = performance.now();
    await open(6, async () => undefined).put('key', chunks(1), { ifAbsent: true });
    expect(performance.now() - since).toBeGreaterThan(STALL * 2);
    await expect(open(6, never).put('key', chunks(1), { ifAbsent: true })).rejects.toEqual(stalls);
    const late = open(0, () => sleep(STALL * 3));
    await expect(late.put('key', chunks(1), { ifAbsent: true })).rejects.toEqual(stalls);
  });

  test('in the stack, a call that stood still is tried again', async () => {
    const memory = new MemoryStorage();
    await memory.put('key', chunks(2), { ifAbsent: true });
    let calls = 0;
    const storage = storageStack(memory, {
      logger: silentLogger,
      stallTimeout: STALL,
      retry: { firstDelay: 1 },
      wrap: { inner: (inner) => ({ ...deaf(), stat: (key) => (++calls === 1 ? never() : inner.stat(key)) }) },
    });
    expect((await storage.stat('key')).size).toBe(2);
    expect(calls).toBe(2);
  });
});
