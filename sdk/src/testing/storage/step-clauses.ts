import assert from 'node:assert/strict';
import { ArchiveError, isArchiveError, type Attempt } from 'pgark/contracts';
import { assertBytes, bodyOf, inChunks, StorageClauseSkipped, type StorageClause } from './clause.ts';

const MIB = 1024 * 1024;

/** One request everywhere, and several. */
const LENGTHS = [1000, 33 * MIB + 7] as const;

export const STEP_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-18/again',
    title: 'STOR-18 each step of a put may be sent again although it had succeeded',
    async run(context) {
      for (const length of LENGTHS) {
        const key = context.key(`object-of-${length}`);
        const bytes = context.random.bytes(length);
        let steps = 0;
        const attempt: Attempt = async (step, call) => {
          steps++;
          const signal = step.signal ?? new AbortController().signal;
          await call(signal); // the answer is lost
          return call(signal);
        };
        await context.storage.put(key, inChunks(bytes, MIB / 4), { ifAbsent: true, attempt });
        if (steps === 0) throw new StorageClauseSkipped('the storage has no steps that can be repeated');
        assertBytes(await context.get(key), bytes, `the object of ${length} bytes`);
        assert.deepEqual(await context.keys(key), [key]);
      }
    },
  },
  {
    id: 'STOR-18/failed',
    title: 'STOR-18 a put of which any step is given up fails with its error and leaves nothing',
    async run(context) {
      const key = context.key('object');
      for (let failing = 1; ; failing++) {
        const error = new ArchiveError('STORAGE_UNAVAILABLE', `step ${failing} was given up`);
        let steps = 0;
        const attempt: Attempt = async (step, call) => {
          if (++steps === failing) throw error;
          return call(step.signal ?? new AbortController().signal);
        };
        const put = context.storage.put(key, bodyOf(Buffer.from('content')), { ifAbsent: true, attempt });
        const failure = await put.then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (steps < failing) {
          assert.equal(failure, undefined);
          break;
        }
        assert.equal(failure, error);
        await context.assertInvisible(key);
      }
      assert.equal((await context.get(key)).toString(), 'content');
    },
  },
  {
    id: 'STOR-18/theirs',
    title: "STOR-18 another writer's object is not taken for one whose answer was lost",
    needs: ['conditionalPut'],
    async run(context) {
      const { storage } = context;
      for (const length of LENGTHS) {
        const key = context.key(`object-of-${length}`);
        const theirs = context.random.bytes(length);
        const isThere = (): Promise<boolean> =>
          storage.stat(key).then(
            () => true,
            () => false,
          );
        let steps = 0;
        const attempt: Attempt = async (step, call) => {
          steps++;
          const signal = step.signal ?? new AbortController().signal;
          const value = await call(signal);
          if (!(await isThere())) return value;
          await storage.remove([key]);
          await context.put(key, theirs);
          return call(signal);
        };
        const put = storage.put(key, inChunks(context.random.bytes(length), MIB), { ifAbsent: true, attempt });
        const error = await put.then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (steps === 0) throw new StorageClauseSkipped('the storage has no steps that can be repeated');
        assert.ok(isArchiveError(error, 'STORAGE_EXISTS'), `expected STORAGE_EXISTS, got ${String(error)}`);
        assertBytes(await context.get(key), theirs, 'the object of the other writer');
      }
    },
  },
];
