import { mkdtempSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { BackgroundSync } from '../../src/restore/background-sync.ts';

const LARGE = 4 * 1024 * 1024;

let folder = '';
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'pgark-sync-'))));
afterEach(() => rmSync(folder, { recursive: true }));

function place(name: string): Buffer {
  return Buffer.from(join(folder, name));
}

async function isClosed(handle: FileHandle): Promise<boolean> {
  return handle.stat().then(
    () => false,
    () => true,
  );
}

test('closes every file; large ones are durable then, small ones are left to the end', async () => {
  const syncs = new BackgroundSync(true);
  const handles: FileHandle[] = [];
  for (const [name, size] of [
    ['large', LARGE],
    ['small', 10],
  ] as const) {
    const handle = await open(place(name), 'w');
    await handle.truncate(size);
    handles.push(handle);
    await syncs.add(handle, place(name), size);
  }
  await syncs.finish();
  for (const handle of handles) expect(await isClosed(handle)).toBe(true);
  expect([syncs.has(place('large')), syncs.has(place('small'))]).toEqual([true, false]);
});

test('without durability nothing is said to be durable', async () => {
  const syncs = new BackgroundSync(false);
  const handle = await open(place('large'), 'w');
  await syncs.add(handle, place('large'), LARGE);
  await syncs.finish();
  expect(await isClosed(handle)).toBe(true);
  expect(syncs.has(place('large'))).toBe(false);
});

test('a file that cannot be synced is an error for whoever comes next, and never durable', async () => {
  const syncs = new BackgroundSync(true);
  const handle = await open(place('broken'), 'w');
  // No disk can be made to fail at fsync here.
  const failing = Object.create(handle, {
    sync: { value: () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })) },
    close: { value: () => handle.close() },
  }) as FileHandle;
  const told = syncs.add(failing, place('broken'), LARGE).then(() => syncs.finish());
  await expect(told).rejects.toSatisfy((error) => isArchiveError(error, 'RESTORE_FAILED'));
  await expect(told).rejects.toThrow(`syncing ${place('broken').toString()} failed: EIO`);
  expect(syncs.has(place('broken'))).toBe(false);
  const next = await open(place('next'), 'w');
  await expect(syncs.add(next, place('next'), 10)).rejects.toThrow(/broken failed: EIO/);
  await expect(syncs.finish()).rejects.toThrow(/broken failed: EIO/);
});
