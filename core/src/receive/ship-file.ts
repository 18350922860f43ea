import { open } from 'node:fs/promises';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { readSegmentHeader, SEGMENT_HEADER_BYTES, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import type { WalArchive } from '../repository/wal.ts';
import { holdsWal, pushEnd, writtenBytes } from './partial-segment.ts';
import { spoolError } from './spool-error.ts';

export interface ShipFileOptions {
  readonly file: WalFile;
  /** Where it is in the spool. */
  readonly path: string;
  readonly signal: AbortSignal;
}

/**
 * Puts a file of the spool into one repository. The end of a timeline is archived as slices: the name of the partial segment is
 * PostgreSQL's, whose promoted server archives it with an end of its own.
 *
 * Throws `WAL_INVALID` for a segment that is not what its name says, `WAL_CONFLICT` for a name that holds another content.
 */
export async function shipFile(archive: WalArchive, { file, path, signal }: ShipFileOptions): Promise<void> {
  const { systemId } = archive;
  if (file.kind === 'partial') {
    const length = await writtenBytes(path);
    if (!holdsWal(length)) return;
    await checkHeader(file, path, systemId);
    await pushEnd(archive, file.name.slice(0, -'.partial'.length), { path, length }, signal);
    return;
  }
  if (file.kind !== 'history') await checkHeader(file, path, systemId);
  try {
    await archive.push(file.name, { path }, { signal });
  } catch (error) {
    if (file.kind !== 'history' || !isArchiveError(error, 'WAL_CONFLICT')) throw error;
    const { message, details } = error;
    throw new ArchiveError('WAL_CONFLICT', `two servers were promoted to timeline ${file.timeline}: ${message}`, {
      hint: 'WAL of this timeline stays in the spool. Shut down the server that is not to be; if it is the one whose history is archived, give the other one a cluster name or a repository of its own and take a base backup.',
      cause: error,
      details,
    });
  }
}

/** Compares what a segment says about itself with its name. Throws `WAL_INVALID`. */
async function checkHeader(
  file: Exclude<WalFile, { readonly kind: 'history' }>,
  path: string,
  systemId: string,
): Promise<void> {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  let size: number;
  try {
    const handle = await open(path);
    try {
      await handle.read(bytes, 0, bytes.length, 0);
      ({ size } = await handle.stat());
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw spoolError(path, error);
  }
  const header = readSegmentHeader(bytes, path);
  const address = segmentNumberOf(file, header.segmentSize) * BigInt(header.segmentSize);
  // The first segment of a timeline begins with pages that were written under its ancestor.
  const fits =
    header.systemId === systemId &&
    header.timeline <= file.timeline &&
    header.pageAddress === address &&
    header.segmentSize === size;
  if (fits) return;
  throw new ArchiveError('WAL_INVALID', `${path} holds other WAL than its name says`, {
    details: {
      path,
      size,
      system_id: header.systemId,
      timeline: header.timeline,
      segment_size: header.segmentSize,
      page_address: header.pageAddress.toString(16),
    },
  });
}
