import assert from 'node:assert/strict';
import type { RetainOptions } from 'pgark/contracts';
import { rejectsWith, type StorageClause, type StorageClauseContext } from './clause.ts';

/** Milliseconds: some storages have whole seconds only. */
const SECOND = 1000;

/** So many milliseconds from now. */
const later = (milliseconds: number): Date => new Date(Date.now() + milliseconds);

function retain({ storage }: StorageClauseContext, key: string, until: Date, options?: RetainOptions): Promise<Date> {
  assert.ok(storage.retain !== undefined, 'the storage declares retention, and has no "retain"');
  return storage.retain(key, until, options);
}

function assertEnd(actual: Date, expected: Date, what: string): void {
  assert.ok(Math.abs(actual.getTime() - expected.getTime()) <= SECOND, `${what}: ${actual.toISOString()}`);
}

export const LOCK_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-19/extend',
    title: 'STOR-19 a lock is extended, an object without one gets one, and it holds',
    needs: ['retention'],
    async run(context) {
      const [locked, free] = [context.key('locked'), context.key('free')];
      await context.put(locked, 'locked', { retainUntil: later(30 * SECOND) });
      await context.put(free, 'free');
      for (const key of [locked, free]) {
        const until = later(60 * SECOND);
        assertEnd(await retain(context, key, until), until, `${key}: the end that it gives`);
        // Asked once more it says what the storage knows.
        assertEnd(await retain(context, key, later(1 * SECOND)), until, `${key}: the end that holds`);
      }
      const { retained } = await context.storage.remove([locked, free]);
      assert.deepEqual(retained.toSorted(), [free, locked].sort());
      assert.deepEqual(await context.keys(), [free, locked].sort());
    },
  },
  {
    id: 'STOR-19/shorten',
    title: 'STOR-19 a lock is never shortened, and only extended if it ends early enough',
    needs: ['retention'],
    async run(context) {
      const key = context.key('locked');
      const first = later(120 * SECOND);
      await context.put(key, 'locked', { retainUntil: first });
      const shorter = await retain(context, key, later(60 * SECOND));
      assertEnd(shorter, first, 'a shorter lock leaves the longer one');
      const early = await retain(context, key, later(600 * SECOND), { ifBefore: later(60 * SECOND) });
      assertEnd(early, first, 'one that ends late enough is left');
      const held = await retain(context, key, later(1 * SECOND));
      assertEnd(held, first, 'the lock is still the first one');
      assert.deepEqual(await context.storage.remove([key]), { retained: [key] });
    },
  },
  {
    id: 'STOR-19/missing',
    title: 'STOR-19 a missing key is STORAGE_NOT_FOUND, and none is made',
    needs: ['retention'],
    async run(context) {
      const key = context.key('nothing');
      await rejectsWith('STORAGE_NOT_FOUND', retain(context, key, later(60 * SECOND)), `locking ${key}`);
      await context.assertInvisible(key);
    },
  },
];
