/** The partial segment of the spool, as it is archived: slices of what was written into it. */
import { open, type FileHandle } from 'node:fs/promises';
import { SEGMENT_HEADER_BYTES } from '../postgres/wal-file.ts';
import type { WalArchive } from '../repository/wal.ts';
import { MOST_OF_SLICE } from './messages.ts';
import { spoolError } from './spool-error.ts';

/** Bytes that are read at once to find the end. */
const BLOCK = 1024 * 1024;

/** Bytes up to the last one that is not zero. Throws as {@link spoolError}. */
export async function writtenBytes(path: string): Promise<number> {
  try {
    const handle = await open(path);
    try {
      const { size } = await handle.stat();
      for (let to = size; to > 0; to -= BLOCK) {
        const from = Math.max(0, to - BLOCK);
        const last = (await readBytes(handle, from, to)).findLastIndex((byte) => byte !== 0);
        if (last >= 0) return from + last + 1;
      }
      return 0;
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw spoolError(path, error);
  }
}

/**
 * Archives the end of a timeline, the first `length` bytes of a partial segment, as slices. Not under the file's own name: that is
 * PostgreSQL's, which archives the end as its promoted server has it.
 */
export async function pushEnd(
  archive: WalArchive,
  segment: string,
  { path, length }: { readonly path: string; readonly length: number },
  signal: AbortSignal,
): Promise<void> {
  for (let from = 0; from < length; from += MOST_OF_SLICE) {
    const to = Math.min(length, from + MOST_OF_SLICE);
    await archive.pushTail(segment, from, to, await readRange(path, from, to), { signal });
  }
}

/** Whether there is anything in a partial segment of this length: one that was only just made holds no WAL. */
export function holdsWal(length: number): boolean {
  return length >= SEGMENT_HEADER_BYTES;
}

async function readRange(path: string, from: number, to: number): Promise<Uint8Array> {
  try {
    const handle = await open(path);
    try {
      return await readBytes(handle, from, to);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw spoolError(path, error);
  }
}

/** Reads a range whole. */
export async function readBytes(handle: FileHandle, from: number, to: number): Promise<Uint8Array> {
  const bytes = Buffer.alloc(to - from);
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, from + done);
    if (bytesRead === 0) throw new Error('the file is too short');
    done += bytesRead;
  }
  return bytes;
}
