import { ArchiveError, type LockProof, type Storage } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test } from 'vitest';
import type { Finding } from '../../src/check/finding.ts';
import { probeStorage, type ProbeOptions } from '../../src/check/storage-probe.ts';
import { withLock } from '../../src/storage/lock.ts';
import { failingStorage } from '../../../test/support/failing-storage.ts';

async function findings(storage: Storage, options: Partial<ProbeOptions> = {}): Promise<readonly Finding[]> {
  const found: Finding[] = [];
  for await (const finding of probeStorage(storage, { name: 'primary', prefix: 'main/check/', ...options }))
    found.push(finding);
  return found;
}

const states = (found: readonly Finding[]): Record<string, string> =>
  Object.fromEntries(found.map(({ check, state }) => [check, state]));

async function keysOf(storage: Storage): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list('')) keys.push(key);
  return keys;
}

/** A storage in memory that does some things in its own way. */
function odd(change: (memory: MemoryStorage) => Partial<Storage>): Storage {
  const memory = new MemoryStorage();
  return {
    capabilities: { ...memory.capabilities, retention: false },
    put: memory.put.bind(memory),
    get: memory.get.bind(memory),
    stat: memory.stat.bind(memory),
    list: memory.list.bind(memory),
    remove: memory.remove.bind(memory),
    close: memory.close.bind(memory),
    ...change(memory),
  };
}

describe('probeStorage', () => {
  test('a good storage passes, and nothing but the locked object is left', async () => {
    const memory = new MemoryStorage();
    await memory.put('main/check/other', (async function* () {})(), { ifAbsent: true });
    expect(states(await findings(memory))).toEqual({
      write: 'ok',
      'read back': 'ok',
      list: 'ok',
      'write once': 'ok',
      race: 'ok',
      'retention lock': 'ok',
      clock: 'ok',
      remove: 'ok',
    });
    expect(await keysOf(memory)).toEqual([
      expect.stringMatching(/^main\/check\/[0-9a-f]{16}\/locked$/),
      'main/check/other',
    ]);
  });

  test('H-51 a condition that is ignored is found: a failure where it is declared or the first object is lost', async () => {
    const overwrites = (memory: MemoryStorage): Partial<Storage> => ({
      put: (key, body, options) => memory.put(key, body, { ...options, ifAbsent: false }),
    });
    const declared = await findings(odd(overwrites));
    expect(states(declared)).toMatchObject({ 'write once': 'failed', race: 'failed' });
    expect(declared.find(({ check }) => check === 'write once')?.message).toContain('replaced the first');
    const honest = await findings(
      odd((memory) => ({
        ...overwrites(memory),
        capabilities: { conditionalPut: false, retention: false, metadata: false },
      })),
    );
    expect(states(honest)).toMatchObject({ 'write once': 'failed', race: 'warning', 'retention lock': 'skipped' });
  });

  test('a condition that is refused as such is found', async () => {
    const found = await findings(
      odd((memory) => ({
        put: async (key, body, options) => {
          if ((await keysOf(memory)).includes(key)) throw new ArchiveError('STORAGE_UNAVAILABLE', 'NotImplemented');
          return memory.put(key, body, options);
        },
      })),
    );
    expect(states(found)).toMatchObject({ write: 'ok', 'write once': 'failed' });
    expect(found.find(({ check }) => check === 'write once')?.message).toContain('STORAGE_UNAVAILABLE');
  });

  test('bytes that come back otherwise, and a listing that does not show the object, are found', async () => {
    const found = await findings(
      odd((memory) => ({
        async *get(key, options) {
          for await (const chunk of memory.get(key, options)) yield Buffer.from(chunk).fill(0, 0, 1);
        },
        async *list() {},
      })),
    );
    expect(states(found)).toMatchObject({ 'read back': 'failed', list: 'failed' });
  });

  test('a clock that is wrong is a warning, whichever way', async () => {
    for (const [skew, word] of [
      [-300_000, 'ahead of'],
      [300_000, 'behind'],
    ] as const) {
      const found = await findings(new MemoryStorage(), { now: () => Date.now() + skew, lockFor: 900_000 });
      const clock = found.find(({ check }) => check === 'clock');
      expect(clock).toMatchObject({ state: 'warning', message: expect.stringContaining(`300 s ${word}`) as string });
    }
  });

  test('credentials that may not delete are as they should be', async () => {
    const found = await findings(
      odd(() => ({ remove: () => Promise.reject(new ArchiveError('STORAGE_DENIED', 'no')) })),
    );
    expect(found.at(-1)).toMatchObject({ check: 'remove', state: 'ok' });
  });

  test('what was not deleted although it was said is found', async () => {
    const found = await findings(odd(() => ({ remove: async () => ({ retained: [] }) })));
    expect(found.at(-1)).toMatchObject({ check: 'remove', state: 'failed' });
  });

  test('a lock that does not hold is a failure', async () => {
    const found = await findings(
      odd((memory) => ({
        capabilities: { ...memory.capabilities, retention: true },
        put: (key, body, options) => memory.put(key, body, { ...options, retainUntil: new Date(0) }),
      })),
    );
    expect(states(found)).toMatchObject({ 'retention lock': 'failed', remove: 'ok' });
  });

  test('what only seems to be locked, because the back end asks by itself, is found by one that tries for real', async () => {
    const keys: string[] = [];
    const answers = { refused: 'ok', kept: 'ok', lost: 'failed' } as const;
    for (const [answer, state] of Object.entries(answers) as [keyof typeof answers, string][]) {
      const memory = new MemoryStorage();
      const proveLock = async (key: string): Promise<LockProof> => {
        keys.push(key);
        return { replace: 'refused', remove: answer };
      };
      const backEnd = { storage: Object.assign(new MemoryStorage(), { proveLock }), prefix: 'pre/fix/' };
      const found = await findings(memory, { backEnd, lock: 1000 });
      const lock = found.find(({ check }) => check === 'retention lock');
      expect(lock).toMatchObject({ state });
      if (answer === 'kept') expect(lock?.message).toContain('deleting it adds a delete marker');
    }
    expect(keys).toHaveLength(3);
    expect(keys[0]).toMatch(/^pre\/fix\/main\/check\/[0-9a-f]{16}\/locked$/);
  });

  test('H-53 in a repository with a lock the probe leaves nothing locked for long but the object that tries the lock', async () => {
    let now = Date.now();
    const memory = new MemoryStorage({ now: () => now });
    const found = await findings(withLock(memory, { lock: 86_400_000, now: () => now }), {
      lock: 86_400_000,
      now: () => now,
    });
    expect(states(found)).toMatchObject({ 'retention lock': 'ok', remove: 'ok' });
    const [left, ...more] = await keysOf(memory);
    expect(more).toEqual([]);
    now += 61_000;
    expect(await memory.remove([left ?? ''])).toEqual({ retained: [] });
  });

  test('a storage that locks every object by itself is told as such', async () => {
    const found = await findings(
      odd((memory) => ({
        put: (key, body, options) => memory.put(key, body, { ...options, retainUntil: new Date(Date.now() + 60_000) }),
      })),
    );
    expect(found.at(-1)).toMatchObject({
      check: 'remove',
      state: 'ok',
      message: expect.stringContaining('by itself') as string,
    });
  });

  test('a storage that cannot be written ends the probe with its error and hint', async () => {
    const [only, ...more] = await findings(failingStorage('STORAGE_DENIED'));
    expect(more).toEqual([]);
    expect(only).toMatchObject({
      subject: 'repository primary',
      check: 'write',
      state: 'failed',
      message: expect.stringContaining('STORAGE_DENIED') as string,
      hint: expect.stringContaining('permissions') as string,
    });
  });

  test('a repository that is only read is only listed', async () => {
    const memory = new MemoryStorage();
    expect(states(await findings(memory, { readOnly: true }))).toEqual({ list: 'ok' });
    expect(await keysOf(memory)).toEqual([]);
  });

  test('an abort is no finding', async () => {
    const abort = new AbortController();
    abort.abort();
    await expect(findings(new MemoryStorage(), { signal: abort.signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
