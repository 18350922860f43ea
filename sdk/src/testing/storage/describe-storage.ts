import { describe, test } from 'vitest';
import type { StorageSuiteOptions } from './clause.ts';
import { runStorageClause } from './run-clause.ts';
import { STORAGE_CLAUSES } from './storage-clauses.ts';

/**
 * Defines the conformance tests of a storage, one or more for each promise of the contract.
 *
 * What a storage declares in its `capabilities` that it cannot do is skipped; any other gap has to be named in
 * `knownGaps` with its reason.
 *
 * @example
 * describeStorage('fs', { create: async () => new FsStorage({ path: root }, context) });
 */
export function describeStorage(name: string, options: StorageSuiteOptions): void {
  const gaps = new Map(options.knownGaps?.map(({ id, reason }) => [id, reason]));
  for (const id of gaps.keys()) {
    if (!STORAGE_CLAUSES.some((clause) => clause.id === id))
      throw new Error(`knownGaps names ${id}, which is no clause`);
  }
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  const timeout = options.timeout ?? (options.scale === 'full' ? 3_600_000 : 30_000);
  describe(`storage ${name}`, () => {
    for (const clause of STORAGE_CLAUSES) {
      test(`${clause.title} [${clause.id}]`, { timeout }, async (context) => {
        const gap = gaps.get(clause.id);
        if (gap !== undefined) return context.skip(`known gap: ${gap}`);
        const result = await runStorageClause(clause, options, seed);
        if (result.outcome === 'skipped') return context.skip(result.reason);
        if (result.outcome === 'failed') {
          throw new Error(`${describeError(result.error)} (seed: ${seed})`, { cause: result.error });
        }
        for (const note of result.notes) await context.annotate(note);
      });
    }
  });
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
