import { setImmediate as turn } from 'node:timers/promises';
import type { Storage } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test } from 'vitest';
import { withLimit } from '../../src/storage/limit.ts';
import { withThrottle } from '../../src/storage/throttle.ts';

async function* body(...sizes: readonly number[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const size of sizes) yield new Uint8Array(size);
}

/** A storage whose `stat` ends when it is told to. */
function gated(): { readonly storage: Storage; readonly open: (() => void)[]; readonly most: () => number } {
  const memory = new MemoryStorage();
  const open: (() => void)[] = [];
  let running = 0;
  let most = 0;
  const storage = {
    capabilities: memory.capabilities,
    put: memory.put.bind(memory),
    get: memory.get.bind(memory),
    list: memory.list.bind(memory),
    remove: memory.remove.bind(memory),
    close: memory.close.bind(memory),
    stat: async (key: string) => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => open.push(resolve));
      running--;
      return { key, size: 0, modified: 0 };
    },
  };
  return { storage, open, most: () => most };
}

describe('withLimit', () => {
  test('lets so many calls in at once, the others in their order', async () => {
    const { storage, open, most } = gated();
    const limited = withLimit(storage, 2);
    const done: string[] = [];
    const calls = ['a', 'b', 'c', 'd', 'e'].map(async (key) => done.push((await limited.stat(key)).key));
    while (done.length < calls.length) {
      await turn();
      expect(open.length).toBeLessThanOrEqual(2);
      open.shift()?.();
    }
    expect(most()).toBe(2);
    expect(done).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('a loop holds its place until it is left, and gives it back however it ends', async () => {
    const { storage } = gated();
    for (const key of ['a', 'b']) await storage.put(key, body(1), { ifAbsent: true });
    const limited = withLimit(storage, 1);
    let listed = false;
    for await (const { key } of limited.list('')) {
      expect(key).toBe('a');
      void limited.remove([]).then(() => (listed = true));
      await turn();
      expect(listed).toBe(false);
      break;
    }
    await turn();
    expect(listed).toBe(true);
    await expect(limited.put('a', body(1), { ifAbsent: true })).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
    await limited.remove(['a']);
  });

  test('an abort ends the wait, and takes no place', async () => {
    const { storage, open } = gated();
    const limited = withLimit(storage, 1);
    const first = limited.stat('a');
    const abort = new AbortController();
    const second = limited.stat('b', { signal: abort.signal });
    const third = limited.stat('c');
    await turn();
    abort.abort();
    await expect(second).rejects.toMatchObject({ code: 'ABORTED' });
    open.shift()?.();
    await first;
    await turn();
    open.shift()?.();
    expect((await third).key).toBe('c');
  });
});

describe('withThrottle', () => {
  test('holds all uploads together to the rate, and all downloads', async () => {
    const memory = new MemoryStorage();
    const storage = withThrottle(memory, { upload: 100_000, download: 200_000 });
    let begin = performance.now();
    await Promise.all(['a', 'b'].map((key) => storage.put(key, body(5000, 5000, 5000, 5000), { ifAbsent: true })));
    // The last chunk does not wait for its own time.
    expect(performance.now() - begin).toBeGreaterThan(345);
    begin = performance.now();
    let bytes = 0;
    for (const key of ['a', 'b', 'a', 'b']) for await (const chunk of storage.get(key)) bytes += chunk.byteLength;
    expect(bytes).toBe(80_000);
    expect(performance.now() - begin).toBeGreaterThan(((bytes - 20_000) / 200_000) * 1000 - 5);
  });

  test('an abort ends the wait', async () => {
    const storage = withThrottle(new MemoryStorage(), { upload: 1 });
    const abort = new AbortController();
    const call = storage.put('key', body(1000, 1), { ifAbsent: true, signal: abort.signal });
    await turn();
    abort.abort();
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
