import assert from 'node:assert/strict';
import { isArchiveError } from 'pgark/contracts';
import { assertBytes, failureOf, inChunks, rejectsWith, type StorageClause } from './clause.ts';

const MIB = 1024 * 1024;

export const READ_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-06/not-found',
    title: 'STOR-06 a key that is not there is STORAGE_NOT_FOUND, whatever is above or below it',
    async run(context) {
      await context.put(context.key('folder/object'), 'x');
      for (const name of [
        'nothing',
        'folder',
        'folder/objec',
        'folder/object2',
        'folder/object/below',
        'no/such/folder',
      ]) {
        await rejectsWith('STORAGE_NOT_FOUND', context.get(context.key(name)), `get of ${name}`);
        await rejectsWith('STORAGE_NOT_FOUND', context.storage.stat(context.key(name)), `stat of ${name}`);
      }
    },
  },
  {
    id: 'STOR-09/bytes',
    title: 'STOR-09 the bytes are those stored, whatever the sizes of the chunks',
    async run(context) {
      for (const [length, chunk] of [
        [300, 1],
        [100_003, 997],
        [3 * MIB + 1, 65_536],
        [5 * MIB, MIB + 1],
        [9 * MIB - 1, 9 * MIB],
      ] as const) {
        const key = context.key(`${length}-by-${chunk}`);
        const bytes = context.random.bytes(length);
        await context.storage.put(key, inChunks(bytes, chunk), { ifAbsent: true });
        assertBytes(await context.get(key), bytes, key);
        assert.equal((await context.storage.stat(key)).size, length);
      }
    },
  },
  {
    id: 'STOR-09/chunks',
    title: 'STOR-09 chunks given out are not changed later, and changing them changes no object',
    async run(context) {
      const key = context.key('object');
      const bytes = context.random.bytes(4 * MIB + 5);
      await context.put(key, bytes);
      assertBytes(await context.get(key), bytes, 'chunks that were kept');
      for await (const chunk of context.storage.get(key)) chunk.fill(0);
      assertBytes(await context.get(key), bytes, 'the object after its chunks were changed');
    },
  },
  {
    id: 'STOR-09/parallel',
    title: 'STOR-09 reads at the same time do not mix',
    async run(context) {
      const objects = Array.from({ length: 8 }, (_, index) => ({
        key: context.key(`object-${index}`),
        bytes: context.random.bytes(MIB + index),
      }));
      for (const { key, bytes } of objects) await context.put(key, bytes);
      const read = await Promise.all([...objects, ...objects].map(({ key }) => context.get(key)));
      for (const [index, bytes] of read.entries()) {
        assertBytes(bytes, objects[index % objects.length]?.bytes ?? new Uint8Array(), `read ${index}`);
      }
    },
  },
  {
    id: 'STOR-10/ranges',
    title: 'STOR-10 a range gives its bytes; past the end it gives what there is',
    async run(context) {
      const key = context.key('object');
      const bytes = context.random.bytes(2 * MIB + 100);
      const size = bytes.byteLength;
      await context.put(key, bytes);
      const ranges: { start: number; end?: number }[] = [
        { start: 0 },
        { start: 0, end: 1 },
        { start: 0, end: size },
        { start: 0, end: size + 1 },
        { start: 1, end: size - 1 },
        { start: size - 1 },
        { start: size - 1, end: size + 1000 },
        { start: MIB - 1, end: MIB + 1 },
      ];
      for (let index = 0; index < 10; index++) {
        const start = context.random.integer(size);
        ranges.push({ start, end: start + 1 + context.random.integer(size) });
      }
      for (const range of ranges) {
        const expected = bytes.subarray(range.start, range.end ?? size);
        assertBytes(await context.get(key, { range }), expected, JSON.stringify(range));
      }
    },
  },
  {
    id: 'STOR-10/outside',
    title: 'STOR-10 a range that starts at or past the end is STORAGE_INVALID_KEY, but start 0 of an empty object',
    async run(context) {
      await context.put(context.key('object'), '0123456789');
      await context.put(context.key('empty'), '');
      for (const [name, range] of [
        ['object', { start: 10 }],
        ['object', { start: 10, end: 11 }],
        ['object', { start: 1_000_000 }],
        ['object', { start: -1 }],
        ['object', { start: 5, end: 4 }],
        ['empty', { start: 1 }],
      ] as const) {
        const get = context.get(context.key(name), { range });
        await rejectsWith('STORAGE_INVALID_KEY', get, `${JSON.stringify(range)} of ${name}`);
      }
      for (const range of [{ start: 0 }, { start: 0, end: 100 }]) {
        assert.equal((await context.get(context.key('empty'), { range })).byteLength, 0);
      }
    },
  },
  {
    id: 'STOR-10/not-found',
    title: 'STOR-10 a range of a key that is not there is STORAGE_NOT_FOUND',
    async run(context) {
      await rejectsWith('STORAGE_NOT_FOUND', context.get(context.key('nothing'), { range: { start: 5 } }), 'get');
    },
  },
  {
    id: 'STOR-11/leave',
    title: 'STOR-11 leaving the loop early frees what the get held, any number of times',
    async run(context) {
      const key = context.key('object');
      const bytes = context.random.bytes(8 * MIB);
      await context.put(key, bytes);
      for (let round = 0; round < 40; round++) {
        const chunks = context.storage.get(key)[Symbol.asyncIterator]();
        const first = await context.withoutHanging(chunks.next(), `the first chunk of get ${round}`);
        assert.ok(first.done !== true && first.value.byteLength > 0);
        const ended = chunks.return?.();
        assert.ok(ended !== undefined, 'the iterator of get has no return()');
        await context.withoutHanging(ended, 'leaving a get');
        assert.equal((await chunks.next()).done, true);
      }
      assertBytes(await context.get(key), bytes, 'a read to the end');
    },
  },
  {
    id: 'STOR-16/close',
    title: 'STOR-16 close may be called twice; calls after it fail',
    async run(context) {
      const key = context.key('object');
      const { storage } = context;
      await context.put(key, 'x');
      await storage.remove([key]);
      await storage.close();
      await storage.close();
      const calls = {
        put: () => context.put(key, 'x'),
        get: () => context.get(key),
        stat: () => storage.stat(key),
        list: () => context.keys(),
        remove: () => storage.remove([key]),
      };
      for (const [name, call] of Object.entries(calls)) {
        const error = await failureOf(call(), `${name} after close`);
        assert.ok(!isArchiveError(error, 'STORAGE_NOT_FOUND'), `${name} after close says that there is no object`);
      }
    },
  },
];
