import assert from 'node:assert/strict';
import { assertBytes, failureOf, type StorageClause } from './clause.ts';

export const REMOVE_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-14/missing',
    title: 'STOR-14 removing keys that do not exist is fine',
    async run(context) {
      const { storage } = context;
      const key = context.key('folder/object');
      await context.put(key, 'x');
      const nothing = ['nothing', 'folder', 'folder/object/below', 'no/such/folder'].map((name) => context.key(name));
      assert.deepEqual(await storage.remove([]), { retained: [] });
      assert.deepEqual(await storage.remove(nothing), { retained: [] });
      assert.deepEqual(await context.keys(), [key]);
      assert.deepEqual(await storage.remove([nothing[0] ?? '', key, key]), { retained: [] });
      await context.assertInvisible(key);
      assert.deepEqual(await storage.remove([key]), { retained: [] });
    },
  },
  {
    id: 'STOR-14/many',
    title: 'STOR-14 any number of keys can be removed at once',
    async run(context) {
      const keys = Array.from({ length: context.listLength }, (_, index) =>
        context.key(`folder-${index % 7}/${index}`),
      );
      const waiting = [...keys];
      const writer = async (): Promise<void> => {
        for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) await context.put(key, 'x');
      };
      await Promise.all(Array.from({ length: 16 }, writer));
      await context.put(context.key('folder-3/stays'), 'x');
      assert.deepEqual(await context.storage.remove(context.random.shuffled(keys)), { retained: [] });
      assert.deepEqual(await context.keys(), [context.key('folder-3/stays')]);
    },
  },
  {
    id: 'STOR-14/retained',
    title: 'STOR-14 an object under retention comes back as retained, stays, and cannot be replaced',
    needs: ['retention'],
    async run(context) {
      const locked = context.key('locked');
      const free = context.key('free');
      await context.put(locked, 'locked', { retainUntil: new Date(Date.now() + 60_000) });
      await context.put(free, 'free', { retainUntil: new Date(Date.now() - 60_000) });
      assert.deepEqual(await context.storage.remove([locked, free]), { retained: [locked] });
      assert.deepEqual(await context.keys(), [locked]);
      await failureOf(context.put(locked, 'other', { ifAbsent: false }), 'replacing a retained object');
      assert.equal((await context.get(locked)).toString(), 'locked');
    },
  },
  {
    id: 'STOR-15/exact',
    title: 'STOR-15 H-57 only exactly the given keys are removed',
    async run(context) {
      const names = ['db1/a', 'db1/a-', 'db1/a.b', 'db1/ab', 'db1/b/c', 'db10/a', 'db1x', 'Db1/a'];
      for (const name of names) await context.put(context.key(name), name);
      await context.storage.remove(
        ['db1', 'db1/*', 'db1/b', 'db', 'db1/?', 'db1/[ab]'].map((name) => context.key(name)),
      );
      assert.deepEqual((await context.keys()).sort(), names.map((name) => context.key(name)).sort());
      await context.storage.remove([context.key('db1/a')]);
      const left = names.filter((name) => name !== 'db1/a').map((name) => context.key(name));
      assert.deepEqual((await context.keys()).sort(), left.sort());
    },
  },
  {
    id: 'STOR-15/again',
    title: 'STOR-15 a removed key is free again, as is one that needs the place of a folder that became empty',
    async run(context) {
      await context.put(context.key('a/b/c'), 'first');
      await context.storage.remove([context.key('a/b/c')]);
      await context.put(context.key('a/b/c'), 'second');
      assert.equal((await context.get(context.key('a/b/c'))).toString(), 'second');
      await context.storage.remove([context.key('a/b/c')]);
      await context.put(context.key('a'), 'an object where a folder was');
      assert.deepEqual(await context.keys(), [context.key('a')]);
    },
  },
  {
    id: 'STOR-15/racing',
    title: 'STOR-15 puts beside removes of the last object of their folder all succeed and stay',
    async run(context) {
      const stored: { key: string; bytes: Uint8Array }[] = [];
      const remover = async (name: string): Promise<void> => {
        for (let round = 0; round < 40; round++) {
          const key = context.key(`shared/folder/going-${name}-${round}`);
          await context.put(key, 'x');
          await context.storage.remove([key]);
        }
      };
      const writer = async (name: string): Promise<void> => {
        for (let round = 0; round < 20; round++) {
          const object = { key: context.key(`shared/folder/${name}-${round}`), bytes: context.random.bytes(100) };
          await context.put(object.key, object.bytes);
          // Every other one goes again, so that the folder becomes empty now and then.
          if (round % 2 === 0) await context.storage.remove([object.key]);
          else stored.push(object);
        }
      };
      await Promise.all([remover('a'), remover('b'), writer('a'), writer('b')]);
      for (const { key, bytes } of stored) assertBytes(await context.get(key), bytes, key);
      assert.deepEqual(await context.keys(), stored.map(({ key }) => key).sort());
    },
  },
];
