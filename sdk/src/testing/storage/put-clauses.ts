import assert from 'node:assert/strict';
import { freedChunk } from '../freed-chunk.ts';
import { bodyOf, assertBytes, failureOf, inChunks, rejectsWith, reopened, type StorageClause } from './clause.ts';

const MIB = 1024 * 1024;

export const PUT_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-02/throws',
    title: 'STOR-02 a body that throws leaves nothing, and its error comes back as it was thrown',
    async run(context) {
      for (const before of [0, 1, 100_000, 3 * MIB]) {
        const key = context.key(`fails-after-${before}`);
        const thrown = new Error('the source failed');
        const put = context.storage.put(key, failing(context.random.bytes(before), thrown), { ifAbsent: true });
        assert.equal(await failureOf(put, 'a put whose body throws'), thrown);
        await context.assertInvisible(key);
        await context.put(key, 'the key is free');
      }
    },
  },
  {
    id: 'STOR-02/replace',
    title: 'STOR-02 a replacement that fails leaves the old object',
    async run(context) {
      const key = context.key('object');
      await context.put(key, 'old');
      const thrown = new Error('the source failed');
      const put = context.storage.put(key, failing(Buffer.from('new'), thrown), { ifAbsent: false });
      assert.equal(await failureOf(put, 'a put whose body throws'), thrown);
      assert.equal((await context.get(key)).toString(), 'old');
    },
  },
  {
    id: 'STOR-03/size',
    title: 'STOR-03 a body of another length than announced is STORAGE_CORRUPT and leaves nothing',
    async run(context) {
      for (const [length, size] of [
        [0, 1],
        [1, 0],
        [99, 100],
        [101, 100],
        [2 * MIB, 3 * MIB],
        [3 * MIB + 1, 3 * MIB],
      ] as const) {
        const key = context.key(`${length}-of-${size}`);
        const bytes = context.random.bytes(length);
        await rejectsWith('STORAGE_CORRUPT', context.put(key, bytes, { size }), `${length} bytes announced as ${size}`);
        await context.assertInvisible(key);
        await context.put(key, bytes, { size: length });
        assertBytes(await context.get(key), bytes, 'the object of the right size');
      }
    },
  },
  {
    id: 'STOR-05/exists',
    title: 'STOR-05 with ifAbsent an existing object is STORAGE_EXISTS and stays as it is',
    needs: ['conditionalPut'],
    async run(context) {
      const key = context.key('object');
      await context.put(key, 'first');
      await rejectsWith('STORAGE_EXISTS', context.put(key, 'second'), 'the second put');
      await rejectsWith('STORAGE_EXISTS', context.put(key, ''), 'an empty put');
      assert.equal((await context.get(key)).toString(), 'first');
    },
  },
  {
    id: 'STOR-05/race',
    title: 'STOR-05 H-52 of 16 racing writers exactly one succeeds, and the object is its',
    needs: ['conditionalPut'],
    async run(context) {
      const { options, storage } = context;
      const other = (await options.reopen?.(storage)) ?? storage;
      try {
        for (let round = 0; round < 3; round++) {
          const key = context.key(`folder-${round}/object`);
          const bodies = Array.from({ length: 16 }, (_, writer) => context.random.bytes(50_000 + writer * 1000));
          const results = await Promise.allSettled(
            bodies.map((bytes, writer) =>
              (writer % 2 === 0 ? storage : other).put(key, inChunks(bytes, 10_000), { ifAbsent: true }),
            ),
          );
          const winners = bodies.filter((_, writer) => results[writer]?.status === 'fulfilled');
          assert.equal(winners.length, 1, 'writers that succeeded');
          for (const result of results) {
            if (result.status === 'rejected') {
              await rejectsWith('STORAGE_EXISTS', Promise.reject(result.reason), 'a writer that lost');
            }
          }
          assertBytes(await context.get(key), winners[0] ?? new Uint8Array(), "the winner's object");
        }
      } finally {
        if (other !== storage) await other.close();
      }
    },
  },
  {
    id: 'STOR-05/replace',
    title: 'STOR-05 without ifAbsent an object is replaced',
    async run(context) {
      const key = context.key('object');
      await context.put(key, 'a longer first content');
      await context.put(key, 'second', { ifAbsent: false });
      assert.equal((await context.get(key)).toString(), 'second');
      assert.deepEqual(await context.keys(), [key]);
    },
  },
  {
    id: 'STOR-07/visible',
    title: 'STOR-07 get, stat and list show an object as soon as put has returned',
    async run(context) {
      for (const length of [1, 70_000]) {
        const key = context.key(`object-of-${length}`);
        const bytes = context.random.bytes(length);
        await context.put(key, bytes);
        assertBytes(await context.get(key), bytes, 'get');
        const info = await context.storage.stat(key);
        assert.deepEqual([info.key, info.size], [key, length]);
        assert.ok(Math.abs(Date.now() - info.modified) < 24 * 3600_000, `modified is ${info.modified}`);
        const listed = [];
        for await (const entry of context.storage.list(key)) listed.push([entry.key, entry.size]);
        assert.deepEqual(listed, [[key, length]]);
      }
    },
  },
  {
    id: 'STOR-07/reopen',
    title: 'STOR-07 a storage opened anew on the same place shows the object',
    async run(context) {
      const bytes = context.random.bytes(10_000);
      await context.put(context.key('object'), bytes);
      const again = await reopened(context);
      try {
        assert.equal((await again.stat(context.key('object'))).size, bytes.byteLength);
      } finally {
        await again.close();
      }
    },
  },
  {
    id: 'STOR-07/parallel',
    title: 'STOR-07 puts that run at the same time, all into one new folder, all succeed',
    async run(context) {
      const objects = Array.from({ length: 12 }, (_, index) => ({
        key: context.key(`new/folder/${index}`),
        bytes: context.random.bytes(300_000 + index),
      }));
      await Promise.all(
        objects.map(({ key, bytes }) => context.storage.put(key, inChunks(bytes, 65_536), { ifAbsent: true })),
      );
      for (const { key, bytes } of objects) assertBytes(await context.get(key), bytes, key);
    },
  },
  {
    id: 'STOR-07/metadata',
    title: 'STOR-07 metadata given to put comes back from stat',
    needs: ['metadata'],
    async run(context) {
      const metadata = { origin: 'conformance', 'with-dash': 'value with spaces' };
      await context.put(context.key('object'), 'x', { metadata });
      assert.deepEqual((await context.storage.stat(context.key('object'))).metadata, metadata);
    },
  },
  {
    id: 'STOR-08/empty',
    title: 'STOR-08 an empty body makes an empty object',
    async run(context) {
      for (const [name, body] of [
        ['no-chunk', bodyOf()],
        ['empty-chunks', bodyOf(new Uint8Array(), new Uint8Array())],
      ] as const) {
        const key = context.key(name);
        await context.storage.put(key, body, { ifAbsent: true, size: 0 });
        assert.equal((await context.get(key)).byteLength, 0);
        assert.equal((await context.storage.stat(key)).size, 0);
        assert.ok((await context.keys()).includes(key), `the listing lacks ${key}`);
      }
    },
  },
  {
    id: 'STOR-17/unchanged',
    title: 'STOR-17 chunks are not changed, and not kept after the call',
    async run(context) {
      const key = context.key('object');
      const bytes = context.random.bytes(2 * MIB + 17);
      const original = Buffer.from(bytes);
      const chunks = [bytes.subarray(0, 10), bytes.subarray(10, MIB + 10), bytes.subarray(MIB + 10)];
      await context.storage.put(key, bodyOf(...chunks), { ifAbsent: true });
      assertBytes(bytes, original, 'the chunks after the call');
      bytes.fill(0);
      assertBytes(await context.get(key), original, 'the object after the chunks were used again');
    },
  },
  {
    id: 'STOR-17/leased',
    title: 'STOR-17 leased chunks, whose memory is freed as soon as they are released, are stored whole',
    async run(context) {
      for (const length of [1, 100_000, ...context.lengths]) {
        const key = context.key(`leased-${length}`);
        const bytes = context.random.bytes(length);
        // A little more than what back ends cut bodies into: chunks go over their borders.
        for (const size of length > MIB ? [MIB + 35] : [length, 999]) {
          const put = `${key}-${size}`;
          await context.storage.put(put, freedAtRelease(bytes, size), { ifAbsent: true });
          assertBytes(await context.get(put), bytes, `${length} bytes in leased chunks of ${size}`);
        }
      }
    },
  },
];

async function* freedAtRelease(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of inChunks(bytes, length)) yield freedChunk(chunk);
}

async function* failing(bytes: Uint8Array, error: Error): AsyncGenerator<Uint8Array, void, undefined> {
  yield* inChunks(bytes, 65_536);
  throw error;
}
