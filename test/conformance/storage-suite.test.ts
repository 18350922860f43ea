import { readFileSync } from 'node:fs';
import { describeStorage, runStorageClause, STORAGE_CLAUSES, type StorageSuiteOptions } from '@pgark/sdk/testing';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test } from 'vitest';
import { BROKEN_STORAGES } from '../support/broken-storages.ts';

const promiseOf = (id: string): string => id.slice(0, 7);

/** The ids of the clauses of one promise that fail. */
async function failures(promise: string, options: StorageSuiteOptions, says = ''): Promise<string[]> {
  const failed: string[] = [];
  for (const clause of STORAGE_CLAUSES.filter(({ id }) => promiseOf(id) === promise)) {
    const result = await runStorageClause(clause, options, 1);
    if (result.outcome !== 'failed') continue;
    expect(String(result.error)).toContain(says);
    failed.push(clause.id);
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
    const options = {
      create: async () => broken.create(),
      patience: 300,
      partsLength: 1024 * 1024,
      ...broken.options?.(),
    };
    expect(await failures(promise, options, broken.says)).toEqual(broken.fails);
  });

  test('H-84 finds nothing in one that is right', async () => {
    // The whole suite runs on it, too: storage-memory.test.ts.
    expect(await failures('STOR-05', { create: async () => new MemoryStorage() })).toEqual([]);
  });
});
