import { open, rm } from 'node:fs/promises';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import { SEGMENT_HEADER_BYTES, type WalFile } from '../postgres/wal-file.ts';
import type { Turn } from './turn.ts';
import { checkSegment, isSegmentFile, type SegmentFile } from './segment-check.ts';

/**
 * Lets `write` make a file beside `path`, checks it, and renames it: nothing unchecked ever has the name that PostgreSQL reads. Errors: those of
 * `write`; `WAL_INVALID`, `SYSTEM_MISMATCH`, `RESTORE_FAILED`; `ABORTED` when a later command fetches to the same place.
 */
export async function place(
  { path, turn }: { readonly path: string; readonly turn: Turn },
  file: WalFile,
  systemId: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = turn.temporary();
  try {
    await write(temporary);
    if (isSegmentFile(file)) await checkPlaced(temporary, file, systemId);
    turn.put(temporary);
  } catch (error) {
    await rm(temporary, { force: true });
    if (turn.isLost())
      throw new ArchiveError('ABORTED', `a later command than this one for ${file.name} fetches to ${path}`, {
        cause: error,
      });
    if (isArchiveError(error)) throw error;
    throw new ArchiveError('RESTORE_FAILED', `cannot put ${file.name} at ${path}: ${errnoOf(error) ?? String(error)}`, {
      cause: error,
      hint: 'Check the folder and its permissions; recovery asks again after a restart.',
    });
  }
}

async function checkPlaced(path: string, file: SegmentFile, systemId: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const { bytesRead } = await handle.read(head, 0, head.byteLength, 0);
    const header = checkSegment(head.subarray(0, bytesRead), (await handle.stat()).size, file);
    if (header.systemId !== systemId)
      throw new ArchiveError('SYSTEM_MISMATCH', `${file.name} in the archive of ${systemId} is of ${header.systemId}`);
  } finally {
    await handle.close();
  }
}
