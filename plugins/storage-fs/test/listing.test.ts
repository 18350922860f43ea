import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { assert, asyncProperty, constantFrom, array, option, string, uniqueArray } from 'fast-check';
import { MemoryStorage } from '@pgark/storage-memory';
import { keysOf, open, put } from './helpers.ts';
import { temporaryFolder } from './processes.ts';

/** Parts whose order changes with the way of comparing. */
const part = constantFrom('a', 'a-', 'a.b', 'a0', 'b', 'A', '~', '\u00e9', '\uff5e', '🐘', 'a!');
const key = array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));

/** An object as another process, or another tool, has left it. */
function plant(root: string, key: string): void {
  mkdirSync(dirname(join(root, key)), { recursive: true });
  writeFileSync(join(root, key), 'x');
}

test('a folder lists what memory lists, for any keys, prefix and startAfter', async () => {
  await assert(
    asyncProperty(
      uniqueArray(key, { maxLength: 25 }),
      string({ maxLength: 3 }),
      option(key),
      async (keys, end, after) => {
        const root = temporaryFolder();
        const storage = open(root);
        const memory = new MemoryStorage();
        // A key below another one is no file.
        const files = keys.filter((key) => !keys.some((other) => key.startsWith(`${other}/`)));
        for (const key of files) {
          plant(root, key);
          await put(memory, key, 'x');
        }
        const startAfter = after ?? undefined;
        for (const prefix of ['', end, ...keys.slice(0, 5), ...keys.slice(0, 5).map((key) => key.slice(0, -1) + end)]) {
          const expected = await keysOf(memory, prefix, startAfter);
          expect(await keysOf(storage, prefix, startAfter), `prefix ${prefix}`).toEqual(expected);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test('ten thousand objects in many folders come in order, each once', async () => {
  const root = temporaryFolder();
  const storage = open(root);
  const keys = Array.from({ length: 10_000 }, (_, number) => `wal/${number % 41}/${number.toString(16)}`);
  for (const key of keys) plant(root, key);
  const expected = keys.toSorted();
  expect(await keysOf(storage)).toEqual(expected);
  expect(await keysOf(storage, '', expected[7000])).toEqual(expected.slice(7001));
});
