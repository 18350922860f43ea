import { readFileSync } from 'node:fs';
import { API_VERSION } from '@pgark/sdk';
import plugin, { MemoryStorage } from '@pgark/storage-memory';
import { expect, test } from 'vitest';

async function* body(text: string): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from(text);
}

test('retention ends when its time has come', async () => {
  let now = 1000;
  const storage = new MemoryStorage({ now: () => now });
  await storage.put('key', body('x'), { ifAbsent: true, retainUntil: new Date(2000) });
  expect(await storage.remove(['key'])).toEqual({ retained: ['key'] });
  await expect(storage.put('key', body('y'), { ifAbsent: false })).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
  now = 2000;
  expect(await storage.remove(['key'])).toEqual({ retained: [] });
  await expect(storage.stat('key')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
});

test('every storage is a place of its own', async () => {
  await new MemoryStorage().put('key', body('x'), { ifAbsent: true });
  await expect(new MemoryStorage().stat('key')).rejects.toMatchObject({ code: 'STORAGE_NOT_FOUND' });
});

test('the manifest says what package.json says, and takes no options', async () => {
  const { pgark } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { pgark: unknown };
  expect(pgark).toEqual({ kind: plugin.kind, name: plugin.name, apiVersion: API_VERSION });
  expect((await plugin.options['~standard'].validate({ path: 'x' })).issues).toHaveLength(1);
});
