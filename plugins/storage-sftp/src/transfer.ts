import { ArchiveError, releaseChunk } from '@pgark/sdk';
import type { Connection, Handle } from './connection.ts';
import { mapped } from './sftp-error.ts';

/** Bytes of one request. OpenSSH takes up to 255 KiB; where a server takes less the library cuts the request. */
const PIECE = 128 * 1024;

/** Requests under way for one object: 2 MiB, which is also the window that OpenSSH gives. */
const WINDOW = 16;

/**
 * Writes all chunks into the file from `start` on, several requests at a time. Each chunk is copied, since it is only valid until the
 * next comes; the memory of a piece is used again once the server has answered.
 */
export async function writeBody(
  connection: Connection,
  handle: Handle,
  body: AsyncIterable<Uint8Array>,
  start = 0,
): Promise<void> {
  const free: Buffer[] = [];
  const pending = new Set<Promise<void>>();
  let failed: { readonly error: unknown } | undefined;
  let piece: Buffer | undefined;
  let filled = 0;
  let written = start;
  const send = async (memory: Buffer, length: number): Promise<void> => {
    if (pending.size >= WINDOW) await Promise.race(pending);
    if (failed !== undefined) throw failed.error;
    const sent: Promise<void> = connection
      .write(handle, memory.subarray(0, length), written)
      .catch((error: unknown) => {
        failed ??= { error };
      })
      .finally(() => {
        pending.delete(sent);
        free.push(memory);
      });
    pending.add(sent);
    written += length;
  };
  for await (const chunk of body) {
    for (let offset = 0; offset < chunk.byteLength;) {
      piece ??= free.pop() ?? Buffer.allocUnsafeSlow(PIECE);
      const part = chunk.subarray(offset, offset + PIECE - filled);
      piece.set(part, filled);
      filled += part.byteLength;
      offset += part.byteLength;
      if (filled < PIECE) continue;
      await send(piece, filled);
      piece = undefined;
      filled = 0;
    }
    releaseChunk(chunk);
  }
  if (piece !== undefined && filled > 0) await send(piece, filled);
  await Promise.all(pending);
  if (failed !== undefined) throw failed.error;
}

/** Cuts a body into batches, in memory that is used again two batches later. The last one may be empty. */
export async function* batchesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const size = WINDOW * PIECE;
  const memories: Buffer[] = [];
  let filled = 0;
  let batch = 0;
  for await (const chunk of body) {
    for (let offset = 0; offset < chunk.byteLength;) {
      const memory = (memories[batch % 2] ??= Buffer.allocUnsafeSlow(size));
      const part = chunk.subarray(offset, offset + size - filled);
      memory.set(part, filled);
      filled += part.byteLength;
      offset += part.byteLength;
      if (filled < size) continue;
      yield memory;
      batch += 1;
      filled = 0;
    }
    releaseChunk(chunk);
  }
  yield (memories[batch % 2] ?? Buffer.alloc(0)).subarray(0, filled);
}

/** Reads the bytes from `start` up to `end`, several requests ahead. Each chunk has memory of its own. */
export async function* readRange(
  connection: Connection,
  handle: Handle,
  key: string,
  range: { readonly start: number; readonly end: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  const ahead: Promise<Uint8Array>[] = [];
  let position = range.start;
  for (;;) {
    for (; position < range.end && ahead.length < WINDOW; position += PIECE) {
      const piece = readPiece(connection, handle, key, position, Math.min(PIECE, range.end - position));
      // It fails when its turn comes, if the reader stays so long.
      piece.catch(() => undefined);
      ahead.push(piece);
    }
    const next = ahead.shift();
    if (next === undefined) return;
    yield await next;
  }
}

/** A server may answer with less than was asked for; only an empty answer is the end (STOR-09). */
async function readPiece(
  connection: Connection,
  handle: Handle,
  key: string,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(length);
  for (let filled = 0; filled < length;) {
    const bytes = await mapped(connection.read(handle, buffer, filled, position + filled), `reading ${key}`);
    if (bytes === 0) {
      throw new ArchiveError('STORAGE_CORRUPT', `the object ${key} ended at ${position + filled} while it was read`);
    }
    filled += bytes;
  }
  return buffer;
}
