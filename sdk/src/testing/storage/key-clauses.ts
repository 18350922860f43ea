import assert from 'node:assert/strict';
import { bodyOf, readAll, rejectsWith, type StorageClauseContext, type StorageClause } from './clause.ts';

/** Names that some back end somewhere treats as more than a name. */
const ODD_NAMES: readonly string[] = [
  ' leading and trailing ',
  '.hidden',
  '...',
  '-rf',
  '~',
  'a+b%20c%2Fd&e=f?g#h',
  'quote\'quote"quote`',
  '$HOME ${HOME} %PATH%',
  '*?[a-z]{1,2}',
  'a:b;c|d<e>f!g@h^i(j),k',
  'COM1',
  'name.tmp',
  'name.partial',
  'ends with a dot.',
  'é as one code point',
  'e\u0301 as two code points',
  '日本語/Ελληνικά/عربي',
  '🐘',
  '\uff5e',
  '\u00a0\u200b\ufeff',
  'UPPER and lower',
  'a/very/deep/path/with/many/parts/in/it/x',
];

export const KEY_CLAUSES: readonly StorageClause[] = [
  {
    id: 'STOR-01/odd',
    title: 'STOR-01 keys with odd characters come back as they were given',
    async run(context) {
      const keys = ODD_NAMES.map((name) => context.key(name));
      for (const key of keys) await context.put(key, `content of ${key}`);
      for (const key of keys) {
        assert.equal((await context.get(key)).toString(), `content of ${key}`);
        assert.equal((await context.storage.stat(key)).key, key);
      }
      assert.deepEqual((await context.keys()).sort(), keys.toSorted());
      await context.storage.remove(keys);
      assert.deepEqual(await context.keys(), []);
    },
  },
  {
    id: 'STOR-01/case',
    title: 'STOR-01 keys that differ in case only are two keys',
    async run(context) {
      await context.put(context.key('name'), 'lower');
      await context.put(context.key('NAME'), 'upper');
      assert.equal((await context.get(context.key('name'))).toString(), 'lower');
      assert.deepEqual(await context.keys(), [context.key('NAME'), context.key('name')]);
    },
  },
  {
    id: 'STOR-01/longest',
    title: 'STOR-01 a key may have 900 bytes',
    async run(context) {
      const key = padded(context, 900);
      await context.put(key, 'long');
      assert.equal((await context.get(key)).toString(), 'long');
      assert.deepEqual(await context.keys(), [key]);
    },
  },
  {
    id: 'STOR-01/refused',
    title: 'STOR-01 what is not a key is STORAGE_INVALID_KEY',
    async run(context) {
      await context.put(context.key('a/b'), 'present');
      for (const key of invalidKeys(context)) {
        const name = JSON.stringify(key);
        const put = context.storage.put(key, bodyOf(Buffer.from('x')), { ifAbsent: true });
        await rejectsWith('STORAGE_INVALID_KEY', put, `put of ${name}`);
        await rejectsWith('STORAGE_INVALID_KEY', readAll(context.storage, key), `get of ${name}`);
        await rejectsWith('STORAGE_INVALID_KEY', context.storage.stat(key), `stat of ${name}`);
        await rejectsWith('STORAGE_INVALID_KEY', context.storage.remove([key]), `remove of ${name}`);
      }
      assert.deepEqual(await context.keys(), [context.key('a/b')]);
    },
  },
];

function invalidKeys(context: StorageClauseContext): readonly string[] {
  const name = context.random.name(12);
  return [
    '',
    '/',
    `/${name}`,
    ...['a//b', 'a/b/', 'a/./b', 'a/../a/b', '..', '.', `../${name}`, 'nul\0', 'line\nbreak', 'del\x7f', 'c1\x85'].map(
      (bad) => context.key(bad),
    ),
    context.key('back\\slash'),
    context.key('half a pair \ud83d'),
    padded(context, 901),
  ];
}

/** A key of exactly so many bytes, in parts that every file system takes. */
function padded(context: StorageClauseContext, bytes: number): string {
  const part = `${'k'.repeat(100)}/`;
  const rest = bytes - Buffer.byteLength(context.prefix);
  return context.prefix + part.repeat(20).slice(0, rest - 1) + 'z';
}
