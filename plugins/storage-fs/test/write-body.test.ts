import type { FileHandle } from 'node:fs/promises';
import { array, assert, asyncProperty, integer } from 'fast-check';
import { expect, test } from 'vitest';
import { writeBody } from '../src/write-body.ts';

/** A file that takes at most so many bytes at once, as a system may. */
function slowFile(most: number): { readonly handle: FileHandle; content(): Buffer; writes: number; largest: number } {
  const written: Buffer[] = [];
  const file = {
    writes: 0,
    largest: 0,
    content: () => Buffer.concat(written),
    handle: {
      writev: async (pieces: readonly Uint8Array[]) => {
        file.writes += 1;
        const given = Buffer.concat(pieces);
        file.largest = Math.max(file.largest, given.byteLength);
        const bytes = given.subarray(0, most);
        written.push(Buffer.from(bytes));
        return { bytesWritten: bytes.byteLength, buffers: pieces };
      },
    } as unknown as FileHandle,
  };
  return file;
}

/** Uses one buffer for all its chunks, as a source may: each is valid until the next is asked for. */
async function* reusing(lengths: readonly number[]): AsyncGenerator<Uint8Array, void, undefined> {
  const buffer = Buffer.alloc(Math.max(0, ...lengths));
  for (const [index, length] of lengths.entries()) yield buffer.fill(index + 1).subarray(0, length);
  buffer.fill(0);
}

const unmapped = <Value>(promise: Promise<Value>): Promise<Value> => promise;

test('all bytes are written in order, however chunks come and however few the system takes at once', async () => {
  await assert(
    asyncProperty(
      array(integer({ min: 0, max: 400_000 }), { maxLength: 12 }),
      integer({ min: 50_000, max: 2_000_000 }),
      async (lengths, most) => {
        const file = slowFile(most);
        await writeBody(file.handle, reusing(lengths), unmapped);
        const expected = Buffer.concat(lengths.map((length, index) => Buffer.alloc(length, index + 1)));
        expect(file.content().equals(expected)).toBe(true);
      },
    ),
    { numRuns: 50 },
  );
});

test('small chunks are gathered, large ones are not copied together, and no write is larger than the system takes well', async () => {
  const small = slowFile(Infinity);
  await writeBody(small.handle, reusing(Array.from({ length: 1000 }, () => 1000)), unmapped);
  expect(small.writes).toBe(2);
  const large = slowFile(Infinity);
  await writeBody(large.handle, reusing([1_000_000, 1_000_000, 10]), unmapped);
  expect(large.writes).toBe(5);
  expect(large.largest).toBe(512 * 1024);
});
