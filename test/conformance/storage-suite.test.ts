import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, type PutOptions } from '@pgark/sdk';
import { describeStorage, runStorageClause, STORAGE_CLAUSES, type StorageSuiteOptions } from '@pgark/sdk/testing';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test } from 'vitest';
import { BROKEN_STORAGES } from '../support/broken-storages.ts';

const promiseOf = (id: string): string => id.slice(0, 7);

/** The ids of the clauses of one promise that fail. */
async function failures(promise: string, options: StorageSuiteOptions): Promise<string[]> {
  const failed: string[] = [];
  for (const clause of STORAGE_CLAUSES.filter(({ id }) => promiseOf(id) === promise)) {
    const result = await runStorageClause(clause, options, 1);
    if (result.outcome === 'failed') failed.push(clause.id);
  }
  return failed;
}

describe('the storage suite', () => {
  test('has a clause for every promise of the contract, and no other', () => {
    const contract = readFileSync(new URL('../../core/src/contracts/storage.ts', import.meta.url), 'utf8');
    const promised = new Set(contract.match(/STOR-\d\d/g));
    expect(new Set(STORAGE_CLAUSES.map(({ id }) => promiseOf(id)))).toEqual(promised);
    for (const { id, title } of STORAGE_CLAUSES) expect(title).toMatch(new RegExp(`^${promiseOf(id)} `));
    expect(new Set(STORAGE_CLAUSES.map(({ id }) => id)).size).toBe(STORAGE_CLAUSES.length);
  });

  test('refuses a known gap that is no clause', () => {
    const options = { create: async () => new MemoryStorage(), knownGaps: [{ id: 'STOR-99/x', reason: 'a test' }] };
    expect(() => describeStorage('refused', options)).toThrow('STOR-99/x');
  });

  test.concurrent.for(BROKEN_STORAGES)('H-84 finds a storage that $fault', { timeout: 180_000 }, async (broken) => {
    const promise = promiseOf(broken.fails[0] ?? '');
    const options = { create: async () => broken.create(), patience: 300, partsLength: 1024 * 1024 };
    expect(await failures(promise, options)).toEqual(broken.fails);
  });

  test('H-84 finds a storage that says "not found" when its root is missing (H-50)', async () => {
    const empty = async (): Promise<MemoryStorage> => new MemoryStorage();
    const broken = { missing: empty, denied: empty, credentials: empty, unavailable: empty, silent: empty };
    const found = Object.keys(broken).map((name) => `STOR-06/${name}`);
    expect(await failures('STOR-06', { create: empty, broken })).toEqual(found);
  });

  test('H-84 finds a storage that takes what there is no room for, and one that calls it a refusal', async () => {
    const place = new MemoryStorage();
    const refusing = new (class extends MemoryStorage {
      override async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
        const kept: Uint8Array[] = [];
        for await (const chunk of body) kept.push(chunk);
        if (kept.length > 3) throw new ArchiveError('STORAGE_DENIED', `storing ${key} was refused`);
        await super.put(key, from(kept), options);
      }
    })();
    for (const full of [place, refusing]) {
      const options = { create: async () => new MemoryStorage(), broken: { full: async () => full } };
      expect(await failures('STOR-06', options)).toEqual(['STOR-06/full']);
    }
  });

  const never = (): Promise<never> => new Promise(() => undefined);
  test.for<[fault: string, message: string, pause: (at: number, hasStopped: boolean) => Promise<void>]>([
    ['is quick', 'was not slow', async () => undefined],
    ['does not notice that its peer has stopped', 'get hangs', (_, hasStopped) => (hasStopped ? never() : sleep(40))],
    [
      'gives up although its peer moves',
      'no patience',
      async (at) => {
        await sleep(40);
        if (at > 0) throw new ArchiveError('STORAGE_UNAVAILABLE', 'no patience');
      },
    ],
  ])('H-84 finds a slow storage that %s', async ([, message, pause]) => {
    let hasStopped = false;
    const storage = new (class extends MemoryStorage {
      override async *get(key: string): AsyncGenerator<Uint8Array, void, undefined> {
        for await (const chunk of super.get(key)) {
          for (let at = 0; at < chunk.byteLength; at += 100) {
            await pause(at, hasStopped);
            yield chunk.subarray(at, at + 100);
          }
        }
      }
    })();
    const slow = { storage, rate: 3000, stallTimeout: 100, stop: () => (hasStopped = true) };
    const options = { create: async () => storage, broken: { slow: async () => slow }, patience: 300 };
    const clause = STORAGE_CLAUSES.find(({ id }) => id === 'STOR-06/slow');
    if (clause === undefined) throw new Error('the clause has another name');
    const result = await runStorageClause(clause, options, 1);
    expect(result.outcome === 'failed' && String(result.error)).toContain(message);
  });

  test('breaks every promise once', () => {
    const broken = new Set(BROKEN_STORAGES.map(({ fails }) => promiseOf(fails[0] ?? '')));
    expect([...broken].sort()).toEqual([...new Set(STORAGE_CLAUSES.map(({ id }) => promiseOf(id)))].sort());
  });
});

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunks;
}
