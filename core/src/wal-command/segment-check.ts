/** Whether a WAL file is what its name says, as far as its own bytes can tell. */
import { ArchiveError } from '../contracts/errors.ts';
import { parseHistory } from '../postgres/timeline.ts';
import { readSegmentHeader, segmentNumberOf, type SegmentHeader, type WalFile } from '../postgres/wal-file.ts';

/** The names of files that hold a segment. */
export type SegmentFile = Extract<WalFile, { readonly kind: 'segment' | 'partial' }>;

export function isSegmentFile(file: WalFile): file is SegmentFile {
  return file.kind === 'segment' || file.kind === 'partial';
}

/**
 * Compares the head of a segment (its first bytes) and the length of the file with its name. Gives what the header says.
 *
 * The timeline in the header may be an older one: the first segment of a timeline begins with the WAL of its ancestor.
 * Errors: `WAL_INVALID`.
 */
export function checkSegment(head: Uint8Array, size: number, file: SegmentFile): SegmentHeader {
  const header = readSegmentHeader(head, file.name);
  const fault = (text: string): ArchiveError => new ArchiveError('WAL_INVALID', `${file.name} ${text}`);
  if (size !== header.segmentSize) throw fault(`has ${size} bytes, its segments have ${header.segmentSize}`);
  if (header.timeline > file.timeline || header.timeline === 0) throw fault(`holds WAL of timeline ${header.timeline}`);
  const number = header.pageAddress / BigInt(header.segmentSize);
  const aligned = header.pageAddress % BigInt(header.segmentSize) === 0n;
  if (!aligned || number !== segmentNumberOf(file, header.segmentSize))
    throw fault(`begins with the page of another segment`);
  return header;
}

/**
 * Checks the content of a history or backup history file against its name. Errors: `WAL_INVALID`.
 */
export function checkTextFile(content: Uint8Array, file: Exclude<WalFile, SegmentFile>): void {
  if (file.kind === 'history') {
    const parent = parseHistory(content, file.name).at(-1);
    if (parent !== undefined && parent.timeline < file.timeline) return;
    throw new ArchiveError('WAL_INVALID', `${file.name} does not lead to timeline ${file.timeline}`);
  }
  const [line] = Buffer.from(content).toString('latin1').split('\n', 1);
  if (line?.startsWith('START WAL LOCATION: ') && line.includes(`(file ${file.name.slice(0, 24)})`)) return;
  throw new ArchiveError('WAL_INVALID', `${file.name} is not the label of a backup that began in this segment`);
}
