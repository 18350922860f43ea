import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isArchiveError } from 'pgark/contracts';
import {
  assertBytes,
  bodyOf,
  inChunks,
  readAll,
  rejectsWith,
  type StorageClauseContext,
  type StorageClause,
} from './clause.ts';

const MIB = 1024 * 1024;

export const ABORT_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-04/before',
    title: 'STOR-04 a call with a signal that has fired is ABORTED and does nothing',
    async run(context) {
      const { storage } = context;
      const signal = AbortSignal.abort();
      const present = context.key('present');
      const absent = context.key('absent');
      await context.put(present, 'content');
      await rejectsWith('ABORTED', storage.put(absent, bodyOf(), { ifAbsent: true, signal }), 'put');
      await rejectsWith('ABORTED', readAll(storage, present, { signal }), 'get');
      await rejectsWith('ABORTED', storage.stat(present, { signal }), 'stat');
      await rejectsWith('ABORTED', context.keys(context.prefix, { signal }), 'list');
      await rejectsWith('ABORTED', storage.remove([present], { signal }), 'remove');
      assert.deepEqual(await context.keys(), [present]);
    },
  },
  {
    id: 'STOR-04/silent',
    title: 'STOR-04 an abort while the body is silent ends the put and leaves nothing',
    async run(context) {
      const key = context.key('object');
      const abort = new AbortController();
      const put = context.storage.put(
        key,
        silentAfter(context.random.bytes(2 * MIB), () => abort.abort()),
        {
          ifAbsent: true,
          signal: abort.signal,
        },
      );
      await rejectsWith('ABORTED', context.withoutHanging(put, 'a put with a silent body'), 'put');
      await assertStaysInvisible(context, key);
    },
  },
  {
    id: 'STOR-04/during',
    title: 'STOR-04 an abort between two chunks leaves nothing',
    async run(context) {
      for (const at of [1, 2, 5]) {
        const key = context.key(`object-${at}`);
        const abort = new AbortController();
        const body = abortingAt(at, context.random.bytes(6 * 200_000), 200_000, abort);
        const put = context.storage.put(key, body, { ifAbsent: true, signal: abort.signal });
        await rejectsWith('ABORTED', context.withoutHanging(put, 'an aborted put'), `put aborted before chunk ${at}`);
        await assertStaysInvisible(context, key);
        await context.put(key, 'the key is free');
      }
    },
  },
  {
    id: 'STOR-04/end',
    title: 'STOR-04 an abort after the last chunk, before the put has succeeded, leaves nothing',
    async run(context) {
      const key = context.key('object');
      const abort = new AbortController();
      const bytes = context.random.bytes(400_000);
      const body = abortingAt(2, bytes, 200_000, abort);
      const put = context.storage.put(key, body, { ifAbsent: true, size: bytes.byteLength, signal: abort.signal });
      await rejectsWith('ABORTED', context.withoutHanging(put, 'an aborted put'), 'put');
      await assertStaysInvisible(context, key);
    },
  },
  {
    id: 'STOR-04/any-time',
    title: 'STOR-04 whenever the abort comes, the put has succeeded or there is nothing',
    async run(context) {
      for (let attempt = 0; attempt < 30; attempt++) {
        const key = context.key(`folder/object-${attempt}`);
        const bytes = context.random.bytes(100_000);
        const abort = new AbortController();
        const put = context.storage
          .put(key, inChunks(bytes, 20_000), { ifAbsent: true, signal: abort.signal })
          .then(() => 'stored')
          .catch((error: unknown) => (isArchiveError(error) ? error.code : String(error)));
        await sleep(context.random.integer(4));
        abort.abort();
        const result = await context.withoutHanging(put, 'an aborted put');
        assert.ok(result === 'ABORTED' || result === 'stored', `the put ended with ${result}`);
        if (result === 'stored') assertBytes(await context.get(key), bytes, 'an object that was stored');
        else await context.assertInvisible(key);
      }
    },
  },
  {
    id: 'STOR-04/after',
    title: 'STOR-04 an abort after the call has returned changes nothing',
    async run(context) {
      const key = context.key('object');
      const abort = new AbortController();
      await context.put(key, 'content', { signal: abort.signal });
      abort.abort();
      await sleep(20);
      assert.equal((await context.get(key)).toString(), 'content');
    },
  },
  {
    id: 'STOR-04/get',
    title: 'STOR-04 an abort between two chunks ends a get',
    async run(context) {
      const key = context.key('object');
      await context.put(key, context.random.bytes(8 * MIB));
      const abort = new AbortController();
      const read = async (): Promise<number> => {
        let bytes = 0;
        for await (const chunk of context.storage.get(key, { signal: abort.signal })) {
          bytes += chunk.byteLength;
          abort.abort();
        }
        return bytes;
      };
      await rejectsWith('ABORTED', context.withoutHanging(read(), 'an aborted get'), 'get');
    },
  },
  {
    id: 'STOR-04/list',
    title: 'STOR-04 an abort between two entries ends a list',
    async run(context) {
      for (let index = 0; index < 3; index++) await context.put(context.key(`object-${index}`), 'x');
      const abort = new AbortController();
      const list = async (): Promise<void> => {
        for await (const entry of context.storage.list(context.prefix, { signal: abort.signal })) {
          if (entry.key !== '') abort.abort();
        }
      };
      await rejectsWith('ABORTED', context.withoutHanging(list(), 'an aborted list'), 'list');
    },
  },
];

/** Gives `bytes`, and fires before it is asked for what follows chunk number `at` (from 1). */
async function* abortingAt(
  at: number,
  bytes: Uint8Array,
  length: number,
  abort: AbortController,
): AsyncGenerator<Uint8Array, void, undefined> {
  let given = 0;
  for await (const chunk of inChunks(bytes, length)) {
    yield chunk;
    given += 1;
    if (given === at) abort.abort();
  }
}

/** Gives `bytes`, then nothing for ever. */
async function* silentAfter(bytes: Uint8Array, silent: () => void): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
  setTimeout(silent, 20);
  await new Promise(() => undefined);
}

async function assertStaysInvisible(context: StorageClauseContext, key: string): Promise<void> {
  await context.assertInvisible(key);
  await sleep(50);
  await context.assertInvisible(key);
}
