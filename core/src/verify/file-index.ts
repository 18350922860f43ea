/** The files of a backup, as PostgreSQL's manifest and the file list describe them, held against each other. */
import { isArchiveError, type ArchiveError } from '../contracts/errors.ts';
import { CONTROL_FILE_PATH } from '../postgres/control-file.ts';
import { ManifestReader, type ManifestFile, type ManifestSummary } from '../postgres/manifest.ts';
import { readFileList, type BackupFile } from '../repository/file-list.ts';
import { parseLsn } from '../postgres/lsn.ts';
import type { BackupRecord } from '../repository/backup-record.ts';
import { listedName } from './record-check.ts';

/** Faults that are told of one object. */
const TOLD = 5;

/** Where a file must be, and what it must be. */
export interface IndexedFile extends Pick<BackupFile, 'part' | 'offset' | 'mode'> {
  readonly file: ManifestFile;
}

export interface ReadManifest {
  readonly files: ReadonlyMap<string, ManifestFile>;
  readonly summary: ManifestSummary;
}

/** Reads a manifest to its end: its own checksum is compared with its bytes as they are (H-35). Errors: `BACKUP_CORRUPT`, those of the source. */
export async function readManifestOf(source: AsyncIterable<Uint8Array>, name: string): Promise<ReadManifest> {
  const files = new Map<string, ManifestFile>();
  const reader = new ManifestReader({ file: (file) => void files.set(file.path, file) }, name);
  await readWhole(source, (chunk) => reader.push(chunk));
  return { files, summary: reader.end() };
}

/** What of a manifest contradicts the record. */
export function manifestFaults({ files, summary }: ReadManifest, record: BackupRecord): readonly string[] {
  const faults: string[] = [];
  if (summary.systemId !== undefined && summary.systemId !== record.systemId)
    faults.push(`is of system ${summary.systemId}, backup.json of ${record.systemId}`);
  if ((summary.version === 2) !== record.serverVersion >= 170_000)
    faults.push(`is of version ${summary.version}, which no server ${record.serverVersion} writes`);
  const newest = summary.walRanges[0];
  const oldest = summary.walRanges.at(-1);
  if (oldest?.timeline !== record.timeline || oldest.start !== parseLsn(record.startLsn))
    faults.push(`has WAL from another position than backup.json, which says ${record.startLsn}`);
  if (newest?.timeline !== record.stopTimeline || newest.end !== parseLsn(record.stopLsn))
    faults.push(`has WAL up to another position than backup.json, which says ${record.stopLsn}`);
  if (!files.has(CONTROL_FILE_PATH)) faults.push(`names no ${CONTROL_FILE_PATH}`);
  if (files.size !== record.files) faults.push(`names ${files.size} files, backup.json says ${record.files}`);
  let bytes = 0;
  for (const { size } of files.values()) bytes += size;
  if (bytes !== record.dataSize) faults.push(`has files of ${bytes} bytes, backup.json says ${record.dataSize}`);
  return faults;
}

export interface ReadIndex {
  readonly files: ReadonlyMap<string, IndexedFile>;
  /** What contradicts the manifest or the record. */
  readonly faults: readonly string[];
}

/** Reads a file list to its end, and joins it with the manifest. Errors: `REPOSITORY_FORMAT`, those of the source. */
export async function readIndex(
  source: AsyncIterable<Uint8Array>,
  name: string,
  { manifest, record }: { readonly manifest: ReadManifest; readonly record: BackupRecord },
): Promise<ReadIndex> {
  const parts = new Set(record.parts.map(listedName));
  const files = new Map<string, IndexedFile>();
  const faults = new Faults();
  for await (const { path, part, offset, mode, size, sha256 } of readFileList(source, name)) {
    const file = manifest.files.get(path);
    if (files.has(path)) faults.add(`names ${path} twice`);
    if (!parts.has(part)) faults.add(`has ${path} in ${part}, which is no part of the backup`);
    if (file === undefined) {
      faults.add(`names ${path}, the manifest does not`);
      continue;
    }
    if (size !== file.size) faults.add(`has ${path} with ${size} bytes, the manifest with ${file.size}`);
    else if (file.algorithm === 'SHA256' && sha256 !== file.checksum)
      faults.add(`has another SHA-256 of ${path} than the manifest`);
    files.set(path, { file, part, offset, mode });
  }
  for (const path of manifest.files.keys())
    if (!files.has(path)) faults.add(`does not name ${path}, the manifest does`);
  return { files, faults: faults.told };
}

/** Keeps the first faults, and counts the others. */
export class Faults {
  readonly #first: string[] = [];
  #count = 0;

  add(text: string): void {
    this.#count++;
    if (this.#first.length < TOLD) this.#first.push(text);
  }

  get told(): readonly string[] {
    const more = this.#count - this.#first.length;
    return more === 0 ? this.#first : [...this.#first, `has ${more} more such faults`];
  }
}

/**
 * Takes a stream to its very end, also when `take` has thrown: only there it is known whether the bytes are those that were stored, and that
 * goes before what is wrong with their content. Errors: those of the stream, else that of `take`.
 */
export async function readWhole(
  source: AsyncIterable<Uint8Array>,
  take: (chunk: Uint8Array) => Promise<void> | void,
): Promise<void> {
  let fault: ArchiveError | undefined;
  for await (const chunk of source) {
    if (fault !== undefined) continue;
    try {
      await take(chunk);
    } catch (error) {
      if (!isArchiveError(error)) throw error;
      fault = error;
    }
  }
  if (fault !== undefined) throw fault;
}
