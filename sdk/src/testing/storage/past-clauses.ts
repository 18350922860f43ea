import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isArchiveError, type Storage } from 'pgark/contracts';
import { readAll, rejectsWith, StorageClauseSkipped, type StorageClause, type StorageClauseContext } from './clause.ts';

/** Milliseconds: the times of many storages are whole seconds. */
const SECOND = 1000;

export const PAST_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-20/past',
    title: 'STOR-20 what was replaced or removed since is there as it was, what came since is not',
    async run(context) {
      await openPast(context, new Date());
      const [kept, replaced, removed, late] = ['a/kept', 'b', 'c/removed', 'd'].map((name) => context.key(name)) as [
        string,
        string,
        string,
        string,
      ];
      for (const key of [kept, replaced, removed]) await context.put(key, `first ${key}`);
      const moment = await momentOf(context, [kept, replaced, removed]);
      // Whatever comes next comes behind the moment, also in whole seconds.
      await sleep(2.1 * SECOND);
      await context.storage.remove([removed]);
      await context.put(replaced, 'not what it was', { ifAbsent: false });
      await context.put(late, 'late');
      const past = await openPast(context, moment);
      const entries: string[] = [];
      for await (const { key, size } of past.list(context.prefix)) {
        entries.push(key);
        assert.equal(size, Buffer.byteLength(`first ${key}`), `size of ${key} in the listing`);
      }
      assert.deepEqual(entries, [kept, replaced, removed]);
      for (const key of entries) {
        assert.equal((await readAll(past, key)).toString(), `first ${key}`);
        assert.equal((await readAll(past, key, { range: { start: 1, end: 4 } })).toString(), 'irs');
        assert.equal((await past.stat(key)).size, Buffer.byteLength(`first ${key}`));
      }
      const behind: string[] = [];
      for await (const { key } of past.list(context.prefix, { startAfter: replaced })) behind.push(key);
      assert.deepEqual(behind, [removed]);
      for (const key of [late, context.key('nothing'), context.key('a')]) {
        await rejectsWith('STORAGE_NOT_FOUND', past.stat(key), `stat of ${key}`);
        await rejectsWith('STORAGE_NOT_FOUND', readAll(past, key), `get of ${key}`);
      }
    },
  },
  {
    id: 'STOR-20/read-only',
    title: 'STOR-20 the past cannot be written',
    async run(context) {
      const key = context.key('object');
      await openPast(context, new Date());
      await context.put(key, 'x');
      const past = await openPast(context, await momentOf(context, [key]));
      await rejectsWith('STORAGE_DENIED', past.remove([key]), 'removing');
      const body = { [Symbol.asyncIterator]: async function* () {} };
      await rejectsWith('STORAGE_DENIED', past.put(context.key('new'), body, { ifAbsent: true }), 'storing');
      assert.deepEqual(await context.keys(), [key]);
    },
  },
];

/** The past, where the place keeps one. One that keeps none has to say so. */
async function openPast({ storage, prefix }: StorageClauseContext, moment: Date): Promise<Storage> {
  if (storage.asOf === undefined) throw new StorageClauseSkipped('the storage has no "asOf"');
  const past = storage.asOf(moment);
  try {
    for await (const _ of past.list(prefix)) break;
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_UNSUPPORTED')) throw error;
    throw new StorageClauseSkipped('the place keeps no versions, and says so');
  }
  return past;
}

/** A moment behind that of all these objects, by the clock of the storage. */
async function momentOf({ storage }: StorageClauseContext, keys: readonly string[]): Promise<Date> {
  const times = await Promise.all(keys.map(async (key) => (await storage.stat(key)).modified));
  return new Date(Math.max(...times) + SECOND);
}
