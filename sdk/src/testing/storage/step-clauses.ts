import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, isArchiveError, type Attempt, type PutStep } from 'pgark/contracts';
import {
  assertBytes,
  bodyOf,
  failureOf,
  inChunks,
  rejectsWith,
  StorageClauseSkipped,
  type StorageClause,
  type StorageClauseContext,
} from './clause.ts';

const MIB = 1024 * 1024;

/**
 * When the first call of a step is given up, if it has no answer by then: at once, after so many milliseconds, or when the storage has
 * taken some of its bytes.
 */
type Stall = number | 'moved';

/** How often in a row a step may fail in a way that may pass, and the milliseconds between. */
const RETRIES = 50;
const PAUSE = 100;

/** Calls a step and cancels the call before it has sent anything; gives what comes of it, at any time. */
async function cancelled(step: PutStep, call: (signal: AbortSignal) => Promise<unknown>): Promise<unknown> {
  const cancel = new AbortController();
  const signal = step.signal === undefined ? cancel.signal : AbortSignal.any([step.signal, cancel.signal]);
  const answer = call(signal).catch((error: unknown) => error);
  cancel.abort();
  return answer;
}

/**
 * Runs a step as a stack does whose first attempt stands still: it is given up, and the next begins while it is still on its way. `late`
 * gets a promise that the first has ended, at any time, with whether that was after it was given up.
 */
async function overlapping<Value>(
  step: PutStep,
  call: (signal: AbortSignal, moved?: () => void) => Promise<Value>,
  { stall, late }: { readonly stall: Stall; readonly late: Promise<boolean>[] },
): Promise<Value> {
  const cancel = new AbortController();
  const signal = step.signal === undefined ? cancel.signal : AbortSignal.any([step.signal, cancel.signal]);
  let tell: () => void = () => undefined;
  const moved = new Promise<void>((resolve) => (tell = resolve));
  let over = false;
  const answer = call(signal, tell).then(
    () => over,
    () => over,
  );
  const stalled = stall === 'moved' ? moved : stall === 0 ? undefined : sleep(stall);
  if (stalled !== undefined) await Promise.race([stalled, answer]);
  over = true;
  cancel.abort();
  late.push(answer);
  return untilDone(step, call);
}

/** Calls a step again for as long as it fails in a way that may pass. */
async function untilDone<Value>(
  step: PutStep,
  call: (signal: AbortSignal, moved?: () => void) => Promise<Value>,
): Promise<Value> {
  const signal = step.signal ?? new AbortController().signal;
  for (let failures = 0; ; failures++) {
    try {
      return await call(signal);
    } catch (error) {
      if (!isArchiveError(error) || !error.retriable || signal.aborted || failures === RETRIES) throw error;
      await sleep(PAUSE);
    }
  }
}

/**
 * Puts an object, the steps for which `stallOf` says when they are given up twice at a time; looks at the object when the put is over, and
 * when all calls have ended. Gives how many steps there were.
 */
async function putOverlapping(
  context: StorageClauseContext,
  { key, length }: { readonly key: string; readonly length: number },
  stallOf: (number: number) => Stall | undefined,
): Promise<number> {
  const bytes = context.random.bytes(length);
  const late: Promise<boolean>[] = [];
  let steps = 0;
  const attempt: Attempt = (step, call) => {
    const stall = stallOf(++steps);
    return stall === undefined ? untilDone(step, call) : overlapping(step, call, { stall, late });
  };
  await context.storage.put(key, inChunks(bytes, MIB / 4), { ifAbsent: true, attempt });
  if (steps === 0) throw new StorageClauseSkipped('the storage has no steps that can be repeated');
  assertBytes(await context.get(key), bytes, `${key} when the put is over`);
  const ended = await context.withoutHanging(Promise.all(late), 'a call that was given up');
  context.note(`${length} bytes: of ${late.length} calls ${ended.filter(Boolean).length} overlapped with the next`);
  // One that was rejected in time may still be at work.
  for (const pause of [0, 50]) {
    await sleep(pause);
    assertBytes(await context.get(key), bytes, `${key} when the calls that were given up have ended`);
    assert.deepEqual(await context.keys(key), [key]);
  }
  return steps;
}

export const STEP_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-18/again',
    title: 'STOR-18 each step of a put may be sent again although it had succeeded',
    async run(context) {
      for (const length of context.lengths) {
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
    id: 'STOR-18/overlap',
    title: 'STOR-18 a step that is begun again while its first call is still on its way makes the same object',
    async run(context) {
      for (const stall of [0, 1, 2, 4, 8, 'moved'] as const) {
        await putOverlapping(context, { key: context.key(`after-${stall}`), length: 1000 }, () => stall);
      }
    },
  },
  {
    id: 'STOR-18/overlap-parts',
    title: 'STOR-18 the same of an object that takes several requests, at its beginning, in its middle and at its end',
    async run(context) {
      const [, length] = context.lengths;
      // Before much is sent: where nothing can be repeated, the clause ends here.
      await putOverlapping(context, { key: context.key('small'), length: 1 }, () => undefined);
      const all = await putOverlapping(context, { key: context.key('counted'), length }, () => undefined);
      // Few: each may cost all that was sent, and steps that come of it.
      let left = 3;
      await putOverlapping(context, { key: context.key('object'), length }, (number) => {
        const stall = number === 1 ? 0 : number === Math.ceil(all / 2) ? 'moved' : number >= all ? 2 : undefined;
        return stall === undefined || left-- <= 0 ? undefined : stall;
      });
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
      for (const length of context.lengths) {
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
