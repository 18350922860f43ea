import type { FileHandle } from 'node:fs/promises';
import { isLeased, releaseChunk } from '@pgark/sdk';

/** Chunks from this size are not copied. */
const LARGE = 256 * 1024;
/** Chunks are gathered up to so many bytes or pieces (IOV_MAX is 1024). */
const GATHERED_BYTES = 4 * 1024 * 1024;
const GATHERED_PIECES = 512;
/**
 * Bytes of one call. Linux takes the pages of a file in folios as large as the write. Beyond this such memory is often not at hand, where the
 * machine is a guest, and is made while it waits: writes of 1 to 4 MiB took up to five times the CPU.
 */
const AT_ONCE = 512 * 1024;

/**
 * Writes all chunks to the end of the file, several at once: those that are leased as they are, small ones of others as copies, since each is
 * only valid until the next comes.
 */
export async function writeBody(
  handle: FileHandle,
  body: AsyncIterable<Uint8Array>,
  map: <Value>(promise: Promise<Value>) => Promise<Value>,
): Promise<void> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    const gathered = pieces;
    pieces = [];
    bytes = 0;
    await map(writeAll(handle, gathered));
    for (const piece of gathered) releaseChunk(piece);
  };
  for await (const chunk of body) {
    if (chunk.byteLength === 0) continue;
    const waits = isLeased(chunk) || chunk.byteLength < LARGE;
    pieces.push(isLeased(chunk) || !waits ? chunk : Buffer.from(chunk));
    bytes += chunk.byteLength;
    if (!waits || bytes >= GATHERED_BYTES || pieces.length >= GATHERED_PIECES) await flush();
  }
  if (pieces.length > 0) await flush();
}

/** The system may write less than it was given, for instance up to the last free block. */
async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  let rest = pieces;
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(upTo(rest, AT_ONCE));
    rest = without(rest, bytesWritten);
  }
}

function upTo(pieces: readonly Uint8Array[], limit: number): readonly Uint8Array[] {
  const taken: Uint8Array[] = [];
  let left = limit;
  for (const piece of pieces) {
    if (left === 0) break;
    const part = piece.subarray(0, left);
    taken.push(part);
    left -= part.byteLength;
  }
  return taken;
}

function without(pieces: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let skip = bytes;
  let index = 0;
  for (const piece of pieces) {
    if (skip < piece.byteLength) break;
    skip -= piece.byteLength;
    index += 1;
  }
  const [first, ...others] = pieces.slice(index);
  return first === undefined ? [] : [first.subarray(skip), ...others];
}
