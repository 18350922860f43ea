import assert from 'node:assert/strict';
import { isArchiveError, type ErrorCode, type Storage } from 'pgark/contracts';
import {
  assertBytes,
  bodyOf,
  readAll,
  rejectsWith,
  StorageClauseSkipped,
  type BrokenPlaces,
  type StorageClause,
  type StorageClauseContext,
} from './clause.ts';

const MIB = 1024 * 1024;

export const BROKEN_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-06/missing',
    title: 'STOR-06 H-50 a missing bucket or root is STORAGE_MISCONFIGURED in every call',
    run: (context) => everyCallFails(context, 'missing', 'STORAGE_MISCONFIGURED'),
  },
  {
    id: 'STOR-06/denied',
    title: 'STOR-06 H-50 a refusal is STORAGE_DENIED in every call',
    run: (context) => everyCallFails(context, 'denied', 'STORAGE_DENIED'),
  },
  {
    id: 'STOR-06/credentials',
    title: 'STOR-06 H-50 wrong credentials are STORAGE_DENIED in every call',
    run: (context) => everyCallFails(context, 'credentials', 'STORAGE_DENIED'),
  },
  {
    id: 'STOR-06/unavailable',
    title: 'STOR-06 a storage that cannot be reached is STORAGE_UNAVAILABLE in every call, and retriable',
    run: (context) => everyCallFails(context, 'unavailable', 'STORAGE_UNAVAILABLE'),
  },
  {
    id: 'STOR-06/silent',
    title: 'STOR-06 H-54 a peer that says nothing is STORAGE_UNAVAILABLE in every call, in time',
    run: (context) => everyCallFails(context, 'silent', 'STORAGE_UNAVAILABLE'),
  },
  {
    id: 'STOR-06/slow',
    title: 'STOR-06 H-54 a slow peer is no failure while it moves; one that stops is STORAGE_UNAVAILABLE in time',
    async run(context) {
      const slow = await placeOf(context, 'slow')();
      const { storage, rate, stallTimeout } = slow;
      const inTime = (call: Promise<unknown>, what: string): Promise<void> =>
        failsInTime(context, 'STORAGE_UNAVAILABLE', call, what);
      try {
        const key = context.key('object');
        const bytes = context.random.bytes(Math.ceil((rate * stallTimeout * 1.3) / 1000));
        await context.put(key, bytes);
        const begun = performance.now();
        assertBytes(await readAll(storage, key), bytes, 'what came slowly');
        const took = performance.now() - begun;
        assert.ok(took > stallTimeout, `the peer was not slow: all came in ${took} ms`);
        assert.equal((await storage.stat(key)).size, bytes.byteLength);
        assert.deepEqual(await keysOf(storage, context.prefix), [key]);

        let received = 0;
        const others: Promise<PromiseSettledResult<void>[]>[] = [];
        const reading = async (): Promise<void> => {
          for await (const chunk of storage.get(key)) {
            if (received === 0) {
              slow.stop();
              const stat = inTime(storage.stat(key), 'stat');
              others.push(Promise.allSettled([stat, inTime(putSmall(storage, context.key('other')), 'put')]));
            }
            received += chunk.byteLength;
          }
        };
        await inTime(reading(), 'get');
        const results = (await Promise.all(others)).flat();
        for (const result of results) if (result.status === 'rejected') throw result.reason;
        assert.equal(results.length, 2);
        assert.ok(received < bytes.byteLength, `${received} bytes came before the peer stopped`);
      } finally {
        await storage.close();
      }
    },
  },
  {
    id: 'STOR-06/full',
    title: 'STOR-06 H-13 a full disk is STORAGE_FULL, retriable, and leaves and takes nothing',
    async run(context) {
      const storage = await placeOf(context, 'full')();
      const before = context.key('before');
      const large = context.key('folder/large');
      const after = context.key('folder/after');
      try {
        const bytes = context.random.bytes(MIB);
        const put = (key: string, times: number): Promise<void> =>
          storage.put(key, bodyOf(...Array.from({ length: times }, () => bytes)), { ifAbsent: true });
        await put(before, 1);
        const error = await rejectsWith('STORAGE_FULL', put(large, 16), 'a put of more than there is room for');
        assert.equal(isArchiveError(error) && error.retriable, true, 'retriable');
        await rejectsWith('STORAGE_NOT_FOUND', storage.stat(large), 'stat of what did not fit');
        await rejectsWith('STORAGE_NOT_FOUND', readAll(storage, large), 'get of what did not fit');
        assert.deepEqual(await keysOf(storage, context.prefix), [before]);
        assertBytes(await readAll(storage, before), bytes, 'what was there before');
        // The room of what failed is free again.
        await put(after, 2);
        assert.equal((await storage.stat(after)).size, 2 * MIB);
      } finally {
        // What was found before counts.
        await storage.remove([before, large, after]).catch(() => undefined);
        await storage.close();
      }
    },
  },
];

function placeOf<Name extends keyof BrokenPlaces>(
  context: StorageClauseContext,
  name: Name,
): NonNullable<BrokenPlaces[Name]> {
  const create = context.options.broken?.[name];
  if (create === undefined) throw new StorageClauseSkipped(`the suite was given no "broken.${name}"`);
  return create;
}

async function everyCallFails(
  context: StorageClauseContext,
  name: Exclude<keyof BrokenPlaces, 'slow'>,
  code: ErrorCode,
): Promise<void> {
  const storage = await placeOf(context, name)();
  const key = 'folder/object';
  const calls: Record<string, () => Promise<unknown>> = {
    get: () => readAll(storage, key),
    stat: () => storage.stat(key),
    list: () => keysOf(storage, ''),
    remove: () => storage.remove([key]),
    put: () => putSmall(storage, key),
  };
  try {
    // At once: what waits for a peer waits together.
    const failures = Object.entries(calls).map(([call, run]) => failsInTime(context, code, run(), call));
    for (const result of await Promise.allSettled(failures)) if (result.status === 'rejected') throw result.reason;
  } finally {
    await storage.close();
  }
}

async function failsInTime(
  context: StorageClauseContext,
  code: ErrorCode,
  call: Promise<unknown>,
  what: string,
): Promise<void> {
  const error = await rejectsWith(code, context.withoutHanging(call, what), what);
  assert.equal(isArchiveError(error) && error.retriable, code === 'STORAGE_UNAVAILABLE', `${what}: retriable`);
}

async function putSmall(storage: Storage, key: string): Promise<void> {
  await storage.put(key, bodyOf(Buffer.from('x')), { ifAbsent: true });
}

async function keysOf(storage: Storage, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const entry of storage.list(prefix)) keys.push(entry.key);
  return keys;
}
