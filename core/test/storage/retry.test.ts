import { ArchiveError, putStep, type PutOptions, type PutStep, type Storage } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { failingStorage } from '../../../test/support/failing-storage.ts';
import { withRetry, type RetryEvent, type RetryOptions } from '../../src/storage/retry.ts';

const unavailable = (): ArchiveError => new ArchiveError('STORAGE_UNAVAILABLE', 'the network is down');

/** The body of a `put` that can be read again, and how often it was. */
function readableAgain(...chunks: string[]): AsyncIterable<Uint8Array> & { readings: number } {
  return {
    readings: 0,
    async *[Symbol.asyncIterator]() {
      this.readings += 1;
      for (const chunk of chunks) yield Buffer.from(chunk);
    },
  };
}

async function* once(...chunks: string[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

/** Time that passes only by sleeping, and what happened in it. */
function fakeTime(): { readonly options: RetryOptions; readonly delays: number[]; readonly events: RetryEvent[] } {
  const delays: number[] = [];
  const events: RetryEvent[] = [];
  let now = 0;
  const options: RetryOptions = {
    now: () => now,
    sleep: async (milliseconds) => {
      delays.push(milliseconds);
      now += milliseconds;
    },
    random: () => 0.5,
    onRetry: (event) => events.push(event),
  };
  return { options, delays, events };
}

/** Fails `failures` times, then does what `storage` does. */
function failingFirst(
  storage: Storage,
  call: keyof Storage,
  failures: number,
  error: () => Error = unavailable,
): Storage {
  let left = failures;
  return new Proxy(storage, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      if (name === call && left > 0) {
        left -= 1;
        return async () => {
          throw error();
        };
      }
      return member.bind(target);
    },
  });
}

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** Resolves to the code that a promise rejects with. */
const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'resolved',
    (error: ArchiveError) => error.code,
  );

describe('withRetry', () => {
  test('waits longer after each failure, up to a limit, half of it by chance', async () => {
    const memory = new MemoryStorage();
    await memory.put('key', once('x'), { ifAbsent: true });
    const { options, delays, events } = fakeTime();
    const settings = { ...options, firstDelay: 100, longestDelay: 1000 };
    await withRetry(failingFirst(memory, 'stat', 6), settings).stat('key');
    expect(delays).toEqual([75, 150, 300, 600, 750, 750]);
    expect(events.map(({ what, attempt }) => `${what} ${attempt}`)).toEqual(
      [1, 2, 3, 4, 5, 6].map((at) => `stat key ${at}`),
    );

    for (const [chance, delay] of [
      [0, 50],
      [1, 100],
    ] as const) {
      const time = fakeTime();
      const random = { ...time.options, firstDelay: 100, random: () => chance };
      await withRetry(failingFirst(memory, 'stat', 1), random).stat('key');
      expect(time.delays).toEqual([delay]);
    }
  });

  test('gives up at the deadline with the last error', async () => {
    const { options, delays } = fakeTime();
    const storage = failingFirst(new MemoryStorage(), 'stat', Infinity);
    const call = withRetry(storage, { ...options, firstDelay: 100, longestDelay: 1000, deadline: 5000 }).stat('key');
    expect(await codeOf(call)).toBe('STORAGE_UNAVAILABLE');
    const total = delays.reduce((sum, delay) => sum + delay, 0);
    expect(total).toBeGreaterThan(4000);
    expect(total).toBeLessThanOrEqual(5000);
  });

  test('the deadline is one of the time that goes by, whatever the clock of the host shows', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const memory = new MemoryStorage();
    await memory.put('key', once('x'), { ifAbsent: true });
    const waiting = (milliseconds: number): RetryOptions => ({
      sleep: async () => void vi.advanceTimersByTime(milliseconds),
    });
    expect(await codeOf(withRetry(failingFirst(memory, 'stat', 5), waiting(50_000)).stat('key'))).toBe('resolved');
    const late = withRetry(failingFirst(memory, 'stat', 5), waiting(100_000)).stat('key');
    expect(await codeOf(late)).toBe('STORAGE_UNAVAILABLE');
  });

  test('never tries again what is not retriable, whatever the code', async () => {
    for (const error of [
      () => new ArchiveError('STORAGE_DENIED', 'refused'),
      () => new ArchiveError('STORAGE_UNAVAILABLE', 'for good', { retriable: false }),
      () => new Error('not one of ours'),
    ]) {
      const { options, delays } = fakeTime();
      await expect(withRetry(failingFirst(new MemoryStorage(), 'stat', 1, error), options).stat('key')).rejects.toThrow(
        error().message,
      );
      expect(delays).toEqual([]);
    }
  });

  test('never tries again after an abort, nor waits out its pause', async () => {
    const abort = new AbortController();
    let calls = 0;
    const storage: Storage = {
      ...failingStorage('INTERNAL'),
      stat: async () => {
        calls += 1;
        setTimeout(() => abort.abort(), 5);
        throw unavailable();
      },
    };
    const call = withRetry(storage, { firstDelay: 1e9, deadline: Infinity }).stat('key', { signal: abort.signal });
    expect(await codeOf(call)).toBe('ABORTED');
    expect(calls).toBe(1);
  });

  test('H-59 does not read a generator twice: the put fails, and leaves no empty object', async () => {
    const memory = new MemoryStorage();
    const { options, delays } = fakeTime();
    const failing = failAfterBody(memory, { stored: false });
    const call = withRetry(failing, options).put('key', once('content'), { ifAbsent: true });
    expect(await codeOf(call)).toBe('STORAGE_UNAVAILABLE');
    expect(delays).toEqual([]);
    expect(await codeOf(memory.stat('key'))).toBe('STORAGE_NOT_FOUND');
  });

  test('tries a put again whose body was not touched, or can be read again', async () => {
    const memory = new MemoryStorage();
    const { options } = fakeTime();
    await withRetry(failingFirst(memory, 'put', 3), options).put('untouched', once('content'), { ifAbsent: true });
    expect(await text(memory.get('untouched'))).toBe('content');

    const body = readableAgain('con', 'tent');
    await withRetry(failAfterBody(memory, { stored: false }), options).put('again', body, { ifAbsent: true });
    expect(await text(memory.get('again'))).toBe('content');
    expect(body.readings).toBe(2);
  });

  test('takes its own object for its own when the answer to a put was lost', async () => {
    const memory = new MemoryStorage();
    const { options } = fakeTime();
    const storage = withRetry(failAfterBody(memory, { stored: true }), options);
    await storage.put('key', readableAgain('con', 'tent'), { ifAbsent: true });
    expect(await text(memory.get('key'))).toBe('content');
  });

  test("does not take another writer's object for its own", async () => {
    for (const theirs of ['CONTENT', 'conten', 'content and more', '']) {
      const memory = new MemoryStorage();
      const { options, delays } = fakeTime();
      const storage = failAfterBody(memory, {
        stored: false,
        meanwhile: () => memory.put('key', once(theirs), { ifAbsent: true }),
      });
      const call = withRetry(storage, options).put('key', readableAgain('con', 'tent'), { ifAbsent: true });
      expect(await codeOf(call)).toBe('STORAGE_EXISTS');
      expect(delays).toHaveLength(1);
      expect(await text(memory.get('key'))).toBe(theirs);
    }
  });

  test('an object that was there before is STORAGE_EXISTS at once, even with the same bytes', async () => {
    const memory = new MemoryStorage();
    await memory.put('key', once('content'), { ifAbsent: true });
    const call = withRetry(memory, fakeTime().options).put('key', readableAgain('content'), { ifAbsent: true });
    expect(await codeOf(call)).toBe('STORAGE_EXISTS');
  });

  test('H-41 a get that breaks off goes on at its byte, at every byte and in every range', async () => {
    const content = '0123456789';
    for (const range of [undefined, { start: 3 }, { start: 2, end: 8 }, { start: 5, end: 100 }]) {
      const expected = content.slice(range?.start ?? 0, range?.end);
      for (let broken = 0; broken <= expected.length; broken++) {
        const memory = new MemoryStorage();
        await memory.put('key', once(content), { ifAbsent: true });
        const { options, delays } = fakeTime();
        const storage = withRetry(breakingOff(memory, broken), options);
        expect(await text(storage.get('key', range === undefined ? {} : { range }))).toBe(expected);
        expect(delays).toHaveLength(1);
      }
    }
  });

  test('a get that makes progress starts the deadline and the pauses anew', async () => {
    const memory = new MemoryStorage();
    await memory.put('key', once('x'.repeat(50)), { ifAbsent: true });
    const { options, delays } = fakeTime();
    const storage = withRetry(breakingOff(memory, 1, Infinity), { ...options, firstDelay: 100, deadline: 100 });
    expect(await text(storage.get('key'))).toBe('x'.repeat(50));
    expect(delays).toEqual(Array.from({ length: 50 }, () => 75));
  });

  test('a get of what is not there is not tried again', async () => {
    const { options, delays } = fakeTime();
    expect(await codeOf(text(withRetry(new MemoryStorage(), options).get('key')))).toBe('STORAGE_NOT_FOUND');
    expect(delays).toEqual([]);
  });

  test('a list that breaks off goes on after its last key', async () => {
    const memory = new MemoryStorage();
    const keys = ['a', 'b', 'c', 'd'];
    for (const key of keys) await memory.put(key, once(key), { ifAbsent: true });
    const { options, delays } = fakeTime();
    const storage: Storage = {
      ...failingStorage('INTERNAL'),
      async *list(prefix, call) {
        let entries = 0;
        for await (const entry of memory.list(prefix, call)) {
          if (entries++ === 1) throw unavailable();
          yield entry;
        }
      },
    };
    const seen: string[] = [];
    for await (const { key } of withRetry(storage, options).list('', { startAfter: 'a' })) seen.push(key);
    expect(seen).toEqual(['b', 'c', 'd']);
    expect(delays).toHaveLength(2);
  });
});

describe('withRetry, steps of a put', () => {
  test('tries a step again until it succeeds, whatever the body is', async () => {
    const { options, delays, events } = fakeTime();
    const [storage, calls] = inSteps([4, 0, 2]);
    await withRetry(storage, { ...options, firstDelay: 100 }).put('key', once('content'), { ifAbsent: true });
    expect(calls).toEqual([5, 1, 3]);
    expect(delays).toEqual([75, 150, 300, 600, 75, 150]);
    expect(events.map(({ what, attempt }) => `${what} ${attempt}`)).toEqual([
      ...[1, 2, 3, 4].map((at) => `put key: step 0 ${at}`),
      ...[1, 2].map((at) => `put key: step 2 ${at}`),
    ]);
  });

  test('each step has a deadline of its own, and one that was in vain ends a put that could begin anew', async () => {
    const { options, delays } = fakeTime();
    const settings = { ...options, firstDelay: 1000, longestDelay: 1000, deadline: 5000 };
    const [storage, calls] = inSteps([6, 6, Infinity]);
    const body = readableAgain('content');
    expect(await codeOf(withRetry(storage, settings).put('key', body, { ifAbsent: true }))).toBe('STORAGE_UNAVAILABLE');
    expect(calls).toEqual([7, 7, 7]);
    expect(delays).toHaveLength(18);
    expect(body.readings).toBe(1);
  });

  test('what no other attempt of a step can heal begins the put anew, if its body can be read again', async () => {
    let puts = 0;
    const storage: Storage = {
      ...failingStorage('INTERNAL'),
      put: async (_key, body, call) => {
        for await (const _ of body) await putStep(call, { name: 'part' }, async () => undefined);
        if (++puts < 3) throw unavailable();
      },
    };
    const { options, delays } = fakeTime();
    await withRetry(storage, options).put('key', readableAgain('a', 'b'), { ifAbsent: true });
    expect([puts, delays.length]).toEqual([3, 2]);
    puts = 0;
    expect(await codeOf(withRetry(storage, options).put('key', once('a', 'b'), { ifAbsent: true }))).toBe(
      'STORAGE_UNAVAILABLE',
    );
    expect(puts).toBe(1);
  });

  test('a step that was cancelled because another one failed does not keep the put from beginning anew', async () => {
    let puts = 0;
    let cancelled: unknown;
    const storage: Storage = {
      ...failingStorage('INTERNAL'),
      put: async (_key, body, call) => {
        for await (const chunk of body) expect(chunk.byteLength).toBe(1);
        if (++puts > 1) return;
        const cancel = new AbortController();
        const other = putStep(call, { name: 'part 2', signal: cancel.signal }, async (signal) => {
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          throw unavailable();
        }).catch((error: unknown) => (cancelled = error));
        const lost = await putStep(call, { name: 'part 1' }, async () => unavailable());
        cancel.abort();
        await other;
        throw lost;
      },
    };
    await withRetry(storage, fakeTime().options).put('key', readableAgain('a'), { ifAbsent: true });
    expect(cancelled).toMatchObject({ code: 'ABORTED' });
    expect(puts).toBe(2);
  });

  test.each(['the put', 'the step'])('the signal of %s ends the pause and the attempts', async (whose) => {
    const abort = new AbortController();
    const own: PutStep = { name: 'part', ...(whose === 'the step' && { signal: abort.signal }) };
    let calls = 0;
    const storage: Storage = {
      ...failingStorage('INTERNAL'),
      put: (_key, _body, call) =>
        putStep(call, own, async () => {
          calls += 1;
          setTimeout(() => abort.abort(), 5);
          throw unavailable();
        }),
    };
    const call: PutOptions = { ifAbsent: true, ...(whose === 'the put' && { signal: abort.signal }) };
    const put = withRetry(storage, { firstDelay: 1e9, deadline: Infinity }).put('key', once(), call);
    expect(await codeOf(put)).toBe('ABORTED');
    expect(calls).toBe(1);
  });
});

/** A storage whose put is a step for each number, which fails so many times; and how often each was called. */
function inSteps(failures: readonly number[]): readonly [storage: Storage, calls: number[]] {
  const calls = failures.map(() => 0);
  const storage: Storage = {
    ...failingStorage('INTERNAL'),
    put: async (_key, body, call) => {
      for await (const chunk of body) expect(chunk.byteLength).toBeGreaterThan(0);
      for (const [at, limit] of failures.entries()) {
        await putStep(call, { name: `step ${at}` }, async () => {
          calls[at] = (calls[at] ?? 0) + 1;
          if ((calls[at] ?? 0) <= limit) throw unavailable();
        });
      }
    },
  };
  return [storage, calls];
}

/** Reads the whole body and then fails once, with the object stored or not: an answer that got lost. */
function failAfterBody(
  memory: MemoryStorage,
  { stored, meanwhile = async () => undefined }: { readonly stored: boolean; readonly meanwhile?: () => Promise<void> },
): Storage {
  let failed = false;
  return {
    ...failingStorage('INTERNAL'),
    get: (key, options) => memory.get(key, options),
    put: async (key, body, options) => {
      if (failed) return memory.put(key, body, options);
      failed = true;
      if (stored) await memory.put(key, body, options);
      else for await (const chunk of body) expect(chunk.byteLength).toBeGreaterThan(0);
      await meanwhile();
      throw unavailable();
    },
  };
}

/** Breaks off every get after so many bytes, the given number of times. */
function breakingOff(memory: MemoryStorage, bytes: number, times = 1): Storage {
  let left = times;
  return {
    ...failingStorage('INTERNAL'),
    stat: (key, options) => memory.stat(key, options),
    async *get(key, options) {
      let given = 0;
      const breaks = left-- > 0;
      for await (const chunk of memory.get(key, options)) {
        for (const byte of chunk) {
          if (breaks && given === bytes) throw unavailable();
          given += 1;
          yield Buffer.of(byte);
        }
      }
      if (breaks && given === bytes) throw unavailable();
    },
  };
}
