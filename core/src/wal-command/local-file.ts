/** A WAL file on this machine that is to be archived: checked against its name, and read for its digest. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import { parseWalFileName, SEGMENT_HEADER_BYTES, type WalFile } from '../postgres/wal-file.ts';
import { DIGEST_LENGTH } from '../repository/layout.ts';
import type { WalSource } from '../repository/wal.ts';
import { dataDirectories, findControlFile } from './data-directory.ts';
import { checkSegment, checkTextFile, isSegmentFile } from './segment-check.ts';

/** A file that is what its name says. */
export interface CheckedFile {
  readonly systemId: string;
  /** Its bytes, read anew for each repository; `signal` ends the reading. */
  source(signal: AbortSignal): WalSource;
}

const READ_SIZE = 1024 * 1024;

/** Files that go to several repositories: each is checked, and read for its digest, once. */
export class LocalFiles {
  readonly #systemId: string | undefined;
  readonly #checked = new Map<string, Promise<CheckedFile>>();

  /** `systemId`: whose WAL it must be. */
  constructor(systemId?: string) {
    this.#systemId = systemId;
  }

  /** Errors: those of {@link clusterOf}. */
  get(file: WalFile, path: string): Promise<CheckedFile> {
    let checked = this.#checked.get(path);
    if (checked === undefined) {
      checked = check(file, path, this.#systemId);
      this.#checked.set(path, checked);
    }
    return checked;
  }
}

async function check(file: WalFile, path: string, given: string | undefined): Promise<CheckedFile> {
  const systemId = await clusterOf(file, path, given);
  const digest = await digestOf(path);
  const read = (signal: AbortSignal): AsyncIterable<Uint8Array> =>
    createReadStream(path, { highWaterMark: READ_SIZE, signal });
  return { systemId, source: (signal) => ({ digest, read: () => read(signal) }) };
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: READ_SIZE })) hash.update(chunk as Uint8Array);
  } catch (error) {
    throw unreadable(path, error);
  }
  return hash.digest('hex').slice(0, DIGEST_LENGTH);
}

/**
 * Checks a file against its name and gives the system identifier of its cluster: what the file says, or what lies beside it, or `given`.
 * Errors: `WAL_INVALID` for a file that is not what its name says or tells nothing of its cluster, `SYSTEM_MISMATCH` when that is not `given`.
 */
export async function clusterOf(file: WalFile, path: string, given?: string): Promise<string> {
  const found = await systemIdOf(file, path);
  const systemId = given ?? found;
  if (systemId === undefined)
    throw new ArchiveError('WAL_INVALID', `cannot tell from which cluster ${path} is`, {
      hint: 'It lies beside no segment and in no data directory: name the cluster with --system-id.',
    });
  if (found !== undefined && found !== systemId) throw systemMismatch(file, found, systemId);
  return systemId;
}

export function systemMismatch(file: WalFile, found: string, wanted: string): ArchiveError {
  return new ArchiveError('SYSTEM_MISMATCH', `${file.name} is of the cluster ${found}, not ${wanted}`);
}

async function systemIdOf(file: WalFile, path: string): Promise<string | undefined> {
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new ArchiveError('WAL_INVALID', `${path} is not a file`);
    if (isSegmentFile(file)) return checkSegment(await readHead(path), info.size, file).systemId;
    checkTextFile(await readFile(path), file);
  } catch (error) {
    if (isArchiveError(error)) throw error;
    throw unreadable(path, error);
  }
  const control = await findControlFile(dataDirectories(path, process.cwd()).toReversed());
  return control?.systemId ?? (await systemIdBeside(path));
}

function unreadable(path: string, error: unknown): ArchiveError {
  return new ArchiveError('WAL_INVALID', `cannot read ${path}: ${errnoOf(error) ?? String(error)}`, { cause: error });
}

async function readHead(path: string): Promise<Uint8Array> {
  const handle = await open(path, 'r');
  try {
    const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const { bytesRead } = await handle.read(head, 0, head.byteLength, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** A history file says nothing of its cluster: a segment in the same folder does. */
async function systemIdBeside(path: string): Promise<string | undefined> {
  const folder = dirname(path);
  for (const name of (await readdir(folder)).sort().toReversed()) {
    const file = parseWalFileName(name);
    if (file === undefined || !isSegmentFile(file)) continue;
    const neighbour = join(folder, name);
    try {
      return checkSegment(await readHead(neighbour), (await stat(neighbour)).size, file).systemId;
    } catch (error) {
      // One that is recycled, or was removed meanwhile, says nothing; the next may.
      if (isArchiveError(error, 'WAL_INVALID') || errnoOf(error) === 'ENOENT') continue;
      throw error;
    }
  }
  return undefined;
}
