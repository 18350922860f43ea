import assert from 'node:assert/strict';
import { ArchiveError, type Attempt, type PutStep } from 'pgark/contracts';
import {
  assertBytes,
  bodyOf,
  failureOf,
  inChunks,
  rejectsWith,
  StorageClauseSkipped,
  type StorageClause,
} from './clause.ts';

const MIB = 1024 * 1024;

/** One request everywhere, and several. */
const LENGTHS = [1000, 33 * MIB + 7] as const;

/** Calls a step and cancels the call before it has sent anything; gives what comes of it, at any time. */
async function cancelled(step: PutStep, call: (signal: AbortSignal) => Promise<unknown>): Promise<unknown> {
  const cancel = new AbortController();
  const signal = step.signal === undefined ? cancel.signal : AbortSignal.any([step.signal, cancel.signal]);
  const answer = call(signal).catch((error: unknown) => error);
  cancel.abort();
  return answer;
}

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
    id: 'STOR-18/over',
    title: 'STOR-18 calls of a step whose signal has fired write nothing, once the put is over',
    async run(context) {
      for (let failing = 1; ; failing++) {
        const key = context.key(`object-${failing}`);
        const error = new ArchiveError('STORAGE_UNAVAILABLE', `step ${failing} was given up`);
        const answers: Promise<unknown>[] = [];
        let steps = 0;
        const attempt: Attempt = async (step, call) => {
          if (++steps !== failing) return call(step.signal ?? new AbortController().signal);
          // The first has sent nothing; what the second finds out about it comes when the put is over.
          for (let calls = 0; calls < 2; calls++) answers.push(cancelled(step, call));
          throw error;
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
        await context.withoutHanging(Promise.allSettled(answers), 'a call whose signal has fired');
        await context.assertInvisible(key);
      }
    },
  },
  {
    id: 'STOR-18/theirs',
    title: "STOR-18 another writer's object is not taken for one whose answer was lost",
    needs: ['conditionalPut'],
    async run(context) {
      const { storage } = context;
      for (const length of LENGTHS) {
        const body = (): AsyncIterable<Uint8Array> => inChunks(context.random.bytes(length), MIB);
        let all = 0;
        const count: Attempt = async (step, call) => {
          all++;
          return call(step.signal ?? new AbortController().signal);
        };
        await storage.put(context.key(`counted-${length}`), body(), { ifAbsent: true, attempt: count });
        if (all === 0) throw new StorageClauseSkipped('the storage has no steps that can be repeated');
        const key = context.key(`object-of-${length}`);
        let steps = 0;
        // The other one is quicker by as much as the last step, and the answer that says so is lost.
        const attempt: Attempt = async (step, call) => {
          const signal = step.signal ?? new AbortController().signal;
          if (++steps < all) return call(signal);
          await context.put(key, 'theirs');
          await failureOf(call(signal), 'the last step of a put whose key is taken');
          return call(signal);
        };
        const put = storage.put(key, body(), { ifAbsent: true, attempt });
        await rejectsWith('STORAGE_EXISTS', put, 'a put that sends its last step again');
        assert.equal((await context.get(key)).toString(), 'theirs');
      }
    },
  },
];
