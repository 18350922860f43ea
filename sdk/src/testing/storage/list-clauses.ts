import assert from 'node:assert/strict';
import { bodyOf, type StorageClauseContext, type StorageClause } from './clause.ts';

/** Names whose order differs between bytes, UTF-16, path components and locales. */
const ORDERED_NAMES: readonly string[] = [
  'A',
  'Z',
  'a!b',
  'a-b',
  'a.b',
  'a/b-c',
  'a/b/c',
  'a0',
  'a1/b',
  'aa',
  'a~',
  'b',
  'e\u0301',
  'z',
  '\u00e9',
  '\u00ea/x',
  '\u0416',
  '\ud7ff',
  '\ue000',
  '\uff5e',
  '\uff5f/x',
  '🐘',
  '🐙/x',
];

const byBytes = (left: string, right: string): number => Buffer.compare(Buffer.from(left), Buffer.from(right));

export const LIST_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-12/order',
    title: 'STOR-12 keys come once each, in the order of their bytes',
    async run(context) {
      const keys = ORDERED_NAMES.map((name) => context.key(name));
      for (const key of context.random.shuffled(keys)) await context.put(key, 'x');
      assert.deepEqual(await context.keys(), keys.toSorted(byBytes));
    },
  },
  {
    id: 'STOR-12/many',
    title: 'STOR-12 long listings are whole and in order, from any place on',
    async run(context) {
      const { random } = context;
      const keys = await putMany(context, context.listLength);
      assert.deepEqual(await context.keys(), keys);
      for (let index = 0; index < 10; index++) {
        // Half of the places are keys, half lie between keys.
        const startAfter = index % 2 === 0 ? random.pick(keys) : `${random.pick(keys).slice(0, -1)}~`;
        const expected = keys.filter((key) => byBytes(key, startAfter) > 0);
        assert.deepEqual(await context.keys(context.prefix, { startAfter }), expected, `startAfter ${startAfter}`);
      }
    },
  },
  {
    id: 'STOR-12/start-after',
    title: 'STOR-12 startAfter works at the edges, and together with a prefix',
    async run(context) {
      const names = ['a', 'b/1', 'b/2', 'b/2-x', 'b/3/x', 'c'];
      for (const name of names) await context.put(context.key(name), 'x');
      const after = async (prefix: string, startAfter: string): Promise<string[]> => {
        const keys = await context.keys(context.key(prefix), { startAfter: context.key(startAfter) });
        return keys.map((key) => key.slice(context.prefix.length));
      };
      assert.deepEqual(await after('', 'b'), ['b/1', 'b/2', 'b/2-x', 'b/3/x', 'c']);
      assert.deepEqual(await after('', 'b/'), ['b/1', 'b/2', 'b/2-x', 'b/3/x', 'c']);
      assert.deepEqual(await after('', 'b/2'), ['b/2-x', 'b/3/x', 'c']);
      assert.deepEqual(await after('', 'b/3'), ['b/3/x', 'c']);
      assert.deepEqual(await after('', 'b0'), ['c']);
      assert.deepEqual(await after('b/', 'a'), ['b/1', 'b/2', 'b/2-x', 'b/3/x']);
      assert.deepEqual(await after('b/', 'b/2-x'), ['b/3/x']);
      assert.deepEqual(await after('b/', 'c'), []);
      assert.deepEqual(await after('', 'c'), []);
    },
  },
  {
    id: 'STOR-12/prefix',
    title: 'STOR-12 H-57 a prefix is a plain string: db1 also gives db10, db1/ does not',
    async run(context) {
      const names = ['db', 'db1/x', 'db1/y/z', 'db10/x', 'db1x', 'db2/x'];
      for (const name of names) await context.put(context.key(name), 'x');
      const below = async (prefix: string): Promise<string[]> =>
        (await context.keys(context.key(prefix))).map((key) => key.slice(context.prefix.length));
      assert.deepEqual(await below('db1'), ['db1/x', 'db1/y/z', 'db10/x', 'db1x']);
      assert.deepEqual(await below('db1/'), ['db1/x', 'db1/y/z']);
      assert.deepEqual(await below('db1/y'), ['db1/y/z']);
      assert.deepEqual(await below('db1/x'), ['db1/x']);
      assert.deepEqual(await below('db'), names);
      assert.deepEqual(await context.keys(context.prefix.slice(0, -1)), await context.keys());
    },
  },
  {
    id: 'STOR-12/lazy',
    title: 'STOR-12 listings can be left early and interleaved',
    async run(context) {
      const keys = await putMany(context, 60);
      for (let round = 0; round < 20; round++) {
        for await (const entry of context.storage.list(context.prefix)) {
          assert.equal(entry.key, keys[0]);
          break;
        }
      }
      const second = context.storage.list(context.prefix)[Symbol.asyncIterator]();
      for await (const entry of context.storage.list(context.prefix)) {
        const next = await second.next();
        assert.equal(next.done === true ? undefined : next.value.key, entry.key);
      }
    },
  },
  {
    id: 'STOR-12/changing',
    title: 'STOR-12 objects that come and go during a listing do not disturb those that stay',
    async run(context) {
      const keys = await putMany(context, 120);
      const going = keys.filter((_, index) => index % 3 === 1);
      const staying = keys.filter((_, index) => index % 3 !== 1);
      const seen: string[] = [];
      for await (const { key } of context.storage.list(context.prefix)) {
        seen.push(key);
        if (seen.length === 5) {
          await context.storage.remove(going);
          await context.put(context.key('new/object'), 'x');
        }
      }
      assert.deepEqual(
        seen.filter((key) => staying.includes(key)),
        staying,
      );
    },
  },
  {
    id: 'STOR-13/writing',
    title: 'STOR-13 an object that is being written is not to be seen',
    async run(context) {
      const key = context.key('folder/object');
      let looked = false;
      const look = async (): Promise<void> => {
        await context.assertInvisible(key);
        assert.deepEqual(await context.keys(), []);
        looked = true;
      };
      await context.storage.put(key, pausing(context.random.bytes(3_000_000), look), { ifAbsent: true });
      assert.ok(looked, 'the put never asked for the rest of the body');
      assert.deepEqual(await context.keys(), [key]);
    },
  },
  {
    id: 'STOR-13/empty',
    title: 'STOR-13 a prefix without keys gives an empty list',
    async run(context) {
      assert.deepEqual(await context.keys(), []);
      await context.put(context.key('object'), 'x');
      for (const name of ['other', 'object/', 'object2', 'no/such/folder/', '../', './', '/']) {
        assert.deepEqual(await context.keys(context.key(name)), [], `list of ${name}`);
      }
    },
  },
];

/** Objects of a few bytes in nested folders with near prefixes; gives the keys in the order of their bytes. */
async function putMany(context: StorageClauseContext, count: number): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, index) => {
    const folder = ['db1', 'db10', 'db1-a', 'db1/nested', 'db2'][index % 5] ?? '';
    return context.key(`${folder}/${(index * 7919).toString(16).padStart(8, '0')}`);
  });
  const waiting = context.random.shuffled(keys);
  const writer = async (): Promise<void> => {
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) await context.put(key, `of ${key}`);
  };
  await Promise.all(Array.from({ length: 16 }, writer));
  return keys.sort(byBytes);
}

async function* pausing(bytes: Uint8Array, look: () => Promise<void>): AsyncGenerator<Uint8Array, void, undefined> {
  yield* bodyOf(bytes.subarray(0, bytes.byteLength - 1));
  await look();
  yield bytes.subarray(bytes.byteLength - 1);
}
