import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FileWriter } from '../../src/restore/file-writer.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgark-writer-'));
  path = join(folder, 'file');
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Written {
  readonly bytes: Buffer;
  readonly told: number;
  readonly failures: unknown[];
  readonly released: number[];
}

async function written(handle: FileHandle, chunks: readonly Uint8Array[]): Promise<Written> {
  let told = 0;
  const failures: unknown[] = [];
  const released: number[] = [];
  const writer = new FileWriter(handle, {
    onBytes: (count, position) => {
      told += count;
      expect(position).toBe(told);
    },
    onFailure: (error) => failures.push(error),
  });
  for (const [at, chunk] of chunks.entries()) {
    await writer.write(chunk);
    // From here on the memory may be used for something else.
    writer.afterWrites(() => {
      chunk.fill(0xff);
      released.push(at);
    });
  }
  await writer.finish();
  await handle.close();
  return { bytes: readFileSync(path), told, failures, released };
}

test('all chunks are written in order, and each is needed until then', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(0, 1, 700, 300_000, 1_048_576, 5_000_000), { maxLength: 12 }),
      async (sizes) => {
        const chunks = sizes.map((size, at) => new Uint8Array(size).fill(at + 1));
        const wanted = Buffer.concat(chunks);
        const { bytes, told, failures, released } = await written(await open(path, 'w'), chunks);
        expect(bytes.equals(wanted)).toBe(true);
        expect(told).toBe(wanted.byteLength);
        expect(failures).toEqual([]);
        expect(released).toEqual(chunks.map((_, at) => at));
      },
    ),
    { numRuns: 20 },
  );
});

test('a system that writes less than it was given is given the rest', async () => {
  const chunks = [1, 2, 3, 4].map((value) => new Uint8Array(1_500_000).fill(value));
  const wanted = Buffer.concat(chunks);
  const handle = await open(path, 'w');
  let short = 0;
  const partial = Object.create(handle, {
    writev: {
      value: (pieces: readonly Uint8Array[], position: number) => {
        short++;
        const bytes = Buffer.concat(pieces);
        return handle.write(bytes, 0, Math.min(2_000_001, bytes.byteLength), position);
      },
    },
    write: { value: (...args: Parameters<FileHandle['write']>) => handle.write(...args) },
    close: { value: () => handle.close() },
  }) as FileHandle;
  const { bytes, failures } = await written(partial, chunks);
  expect(short).toBeGreaterThan(0);
  expect(failures).toEqual([]);
  expect(bytes.equals(wanted)).toBe(true);
});

test('a failure is told once for each batch, and releases its chunks', async () => {
  const handle = await open(path, 'w');
  const reader = await open(path, 'r');
  await handle.close();
  // A file that is open for reading takes nothing: EBADF.
  const { failures, released, told } = await written(reader, [new Uint8Array(10), new Uint8Array(20)]);
  expect(failures).toMatchObject([{ code: 'EBADF' }]);
  expect(released).toEqual([0, 1]);
  expect(told).toBe(0);
});
