/** Random content, and random ways of feeding it. */
import type { Random } from '@pgark/sdk/testing';

const TEXT = Buffer.from(
  'INSERT INTO ledger VALUES (202, 3.14159, NULL); -- "quoted" and then some more text that repeats itself\n'.repeat(
    700,
  ),
);

/** Mostly small; sometimes around the borders of blocks, or several blocks. */
export function randomContent(random: Random, blockSize: number): Buffer {
  const size = random.integer(12);
  if (size === 0) return Buffer.alloc(0);
  if (size < 8) return fill(random, random.integer(5000));
  if (size < 10) return fill(random, random.integer(200_000));
  if (size === 10) return fill(random, Math.max(0, (1 + random.integer(2)) * blockSize - 3 + random.integer(7)));
  return fill(random, random.integer(4 * blockSize));
}

/** Runs of random bytes, of one byte, and of text. */
function fill(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const only = random.integer(6);
  for (let at = 0; at < length;) {
    const run = Math.min(length - at, 1 + random.integer(only === 0 ? length : 60_000));
    const kind = only < 3 ? only : random.integer(3);
    if (kind === 0) bytes.set(random.bytes(run), at);
    else if (kind === 1) bytes.fill(random.integer(256), at, at + run);
    else TEXT.copy(bytes, at, random.integer(100), at + run);
    at += run;
  }
  return bytes;
}

/** The bytes in chunks of random sizes, some of them empty, some of them late. */
export async function* randomChunks(random: Random, bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  // Single bytes cost a turn each: for what is small.
  const smallest = bytes.byteLength < 3000 ? 2 : 2000;
  const most = random.pick([smallest, 20_000, 70_000, 3_000_000]);
  const late = random.integer(3) === 0;
  for (let start = 0; start < bytes.byteLength;) {
    const end = start + random.integer(most);
    if (late) await new Promise((resolve) => setImmediate(resolve));
    yield bytes.subarray(start, end);
    start = end;
  }
}
