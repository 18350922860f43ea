/** Whether a server's WAL is that of a repository: a copy or a snapshot of a server that went on by itself has the same system identifier. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { ConnectionTarget } from '../postgres/target.ts';
import { segmentName } from '../postgres/wal-file.ts';
import { WalRecordReader } from '../postgres/wal-records.ts';
import type { WalArchive, WalObject } from '../repository/wal.ts';
import type { WalHole } from './holes.ts';
import { serverSegments, type ServerSegmentsOptions } from './server-segments.ts';

/** The record that ends a segment before its time. What lies behind it is left from an older use of the file. */
const SWITCH_BYTES = 24;

/**
 * Compares the segment behind a hole, else the one before it, as the repository and as the server have it. Where WAL is the same it was the
 * same all the way there, so that what lies before the one behind the hole is what the repository lacks.
 *
 * Errors: `WAL_CONFLICT` when they differ, or when the repository has neither; those of {@link serverSegments} and of the repository.
 */
export async function checkSameWal(
  archive: WalArchive,
  { timeline, first, last }: WalHole,
  server: ConnectionTarget,
  options: ServerSegmentsOptions,
): Promise<void> {
  const { segmentSize, signal } = options;
  let absent: ArchiveError | undefined;
  for (const number of [last + 1n, first - 1n]) {
    const object = number < 0n ? undefined : await archive.find(segmentName(timeline, number, segmentSize), { signal });
    if (object === undefined) continue;
    try {
      await serverSegments(server, { timeline, first: number, last: number }, options, async (name) => {
        if (await isSame(archive, object, join(options.folder, name), number * BigInt(segmentSize), options)) return;
        throw new ArchiveError('WAL_CONFLICT', `it holds another ${name} than the repository`, {
          hint: 'It has split off without a new timeline, as a copy or a snapshot does that is started beside its original: take it out of the URL.',
        });
      });
      return;
    } catch (error) {
      // It may have the beginning of the hole, and not what lies behind it.
      if (!isArchiveError(error, 'WAL_GAP') && !isArchiveError(error, 'TIMELINE_DIVERGED')) throw error;
      absent = error;
    }
  }
  if (absent !== undefined) throw absent;
  throw new ArchiveError('WAL_CONFLICT', `the repository has no segment beside the hole to compare its WAL with`);
}

async function isSame(
  archive: WalArchive,
  object: WalObject,
  path: string,
  start: bigint,
  { segmentSize, systemId, signal }: ServerSegmentsOptions,
): Promise<boolean> {
  let end = segmentSize;
  const reader = new WalRecordReader(
    (record) => {
      if (record.kind === 'switch') end = Number(record.lsn - start) + SWITCH_BYTES;
    },
    { start, segmentSize, timeline: object.file.timeline, systemId, checkCrc: false },
  );
  const handle = await open(path);
  try {
    let at = 0;
    let differs: number | undefined;
    for await (const chunk of archive.read(object, { signal })) {
      reader.push(chunk);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(chunk.byteLength), 0, chunk.byteLength, at);
      const index = chunk.findIndex((byte, place) => place >= bytesRead || byte !== buffer[place]);
      if (index >= 0) differs ??= at + index;
      at += chunk.byteLength;
    }
    return differs === undefined || differs >= end;
  } finally {
    await handle.close();
  }
}
