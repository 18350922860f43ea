import { StorageClauseContext, StorageClauseSkipped, type StorageClause, type StorageSuiteOptions } from './clause.ts';
import { Random } from './random.ts';

/** What came of a clause. `reason` says why it was skipped, `notes` what it has measured. */
export type StorageClauseResult =
  | { readonly outcome: 'passed'; readonly notes: readonly string[] }
  | { readonly outcome: 'skipped'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly error: unknown };

/** Runs one clause on a storage of its own and removes what it has made. */
export async function runStorageClause(
  clause: StorageClause,
  options: StorageSuiteOptions,
  seed: number,
): Promise<StorageClauseResult> {
  const storage = await options.create();
  const lacking = clause.needs?.find((capability) => !storage.capabilities[capability]);
  if (lacking !== undefined) {
    await storage.close();
    return { outcome: 'skipped', reason: `the storage declares that it has no ${lacking}` };
  }
  const context = new StorageClauseContext(storage, options, new Random(seed));
  try {
    await clause.run(context);
  } catch (error) {
    if (error instanceof StorageClauseSkipped) return { outcome: 'skipped', reason: error.message };
    return { outcome: 'failed', error };
  } finally {
    await cleanUp(context);
  }
  return { outcome: 'passed', notes: context.notes };
}

/** A storage that fails a clause may fail here too, and one clause closes it: what was found before counts. */
async function cleanUp(context: StorageClauseContext): Promise<void> {
  try {
    await context.storage.remove(await context.keys());
  } catch {
    return;
  } finally {
    await context.storage.close();
  }
}
