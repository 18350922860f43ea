/** A WAL file on this machine that is to be archived: checked against its name, and read for its digest. */
import { createHash } from 'node:crypto';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import { releaseChunk } from '../contracts/lease.ts';
import { fileChunks } from '../pipeline/file-chunks.ts';
import { readInThread } from '../pipeline/hash-thread.ts';
import { parseWalFileName, SEGMENT_HEADER_BYTES, type WalFile } from '../postgres/wal-file.ts';
import { DIGEST_LENGTH } from '../repository/layout.ts';
import type { WalSource } from '../repository/wal.ts';
import { findControlFile } from './data-directory.ts';
import { dataDirectories } from './recovery-mode.ts';
import { checkSegment, checkTextFile, isSegmentFile } from './segment-check.ts';

/** A file that is what its name says. */
export interface CheckedFile {
  readonly systemId: string;
  /** Its bytes, read anew for each repository; `signal` ends the reading. */
  source(signal: AbortSignal): WalSource;
}

const READ_SIZE = 1024 * 1024;

/** Files that are checked, and read for their digest, once, although they go to several repositories. */
export interface FileChecks {
  /** `systemId`: whose WAL it must be. Errors: those of {@link clusterOf}. */
  get(file: WalFile, path: string, systemId?: string): Promise<CheckedFile>;
}

/** The checks of one command. */
export class LocalFiles implements FileChecks {
  readonly #checked = new Map<string, Promise<CheckedFile>>();

  get(file: WalFile, path: string, systemId?: string): Promise<CheckedFile> {
    let checked = this.#checked.get(path);
    if (checked === undefined) {
      checked = checkFile(file, path, { systemId });
      this.#checked.set(path, checked);
    }
    return checked;
  }
}

export interface CheckOptions {
  /** Whose WAL it must be. */
  readonly systemId: string | undefined;
  /** A folder that may be the data directory of the server. Default: the current one. */
  readonly cwd?: string;
  /** Gives memory for a file of so many bytes, which the first source then has, so that the file is read once. Default: it is read anew. */
  readonly hold?: (size: number) => HeldBytes | undefined;
  /** Whether a file that is held is read in the hashing thread, which is there for many files. Default false. */
  readonly inThread?: boolean;
}

/** The bytes of a file, for the one who takes them first. */
export interface HeldBytes {
  /** Where they are read into. */
  readonly memory: Uint8Array<ArrayBuffer>;
  /** Another view of the same memory takes its place, which went to another thread and came back. */
  replace(memory: Uint8Array<ArrayBuffer>): void;
  /**
   * Leased, and to be released when they are stored. After a failure they must not be: whatever goes on with them then would find others in
   * their place. Undefined when they were taken, or others came in their place.
   */
  take(): Uint8Array | undefined;
}

/** Checks a file against its name and reads it for its digest. Errors: those of {@link clusterOf}. */
export async function checkFile(file: WalFile, path: string, options: CheckOptions): Promise<CheckedFile> {
  const systemId = await clusterOf(file, path, options);
  try {
    const held = options.hold?.((await stat(path)).size);
    const digest = await digestOf(path, held, options.inThread === true);
    return {
      systemId,
      source: (signal) => {
        const bytes = held?.take();
        return bytes === undefined ? { digest, read: () => fileChunks(path, signal) } : { digest, bytes };
      },
    };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Held memory is as long as the file, and has its bytes then. */
async function digestOf(path: string, held: HeldBytes | undefined, inThread: boolean): Promise<string> {
  const read = held !== undefined && inThread ? await readHeld(path, held) : undefined;
  const { sha256, size } = read ?? (await hashHere(path, held));
  if (held !== undefined && size !== held.memory.byteLength) throw new Error('its length has changed');
  return sha256.slice(0, DIGEST_LENGTH);
}

async function readHeld(path: string, held: HeldBytes): Promise<Hashed | undefined> {
  const read = await readInThread(path, held.memory);
  if (read !== undefined) held.replace(read.memory);
  return read;
}

interface Hashed {
  readonly sha256: string;
  readonly size: number;
}

async function hashHere(path: string, held: HeldBytes | undefined): Promise<Hashed> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of held === undefined ? fileChunks(path) : readInto(held.memory, path)) {
    hash.update(chunk);
    size += chunk.byteLength;
    releaseChunk(chunk);
  }
  return { sha256: hash.digest('hex'), size };
}

async function* readInto(memory: Uint8Array, path: string): AsyncGenerator<Uint8Array> {
  const handle = await open(path);
  try {
    for (let size = 0; size < memory.byteLength;) {
      const { bytesRead } = await handle.read(memory, size, Math.min(READ_SIZE, memory.byteLength - size));
      if (bytesRead === 0) return;
      yield memory.subarray(size, size + bytesRead);
      size += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/**
 * Checks a file against its name and gives the system identifier of its cluster: what the file says, or what lies beside it, or that of the options.
 * Errors: `WAL_INVALID` for a file that is not what its name says or tells nothing of its cluster, `SYSTEM_MISMATCH` when that is not the one of the options.
 */
export async function clusterOf(file: WalFile, path: string, options: CheckOptions): Promise<string> {
  const found = await systemIdOf(file, path, options.cwd ?? process.cwd());
  const systemId = options.systemId ?? found;
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

async function systemIdOf(file: WalFile, path: string, cwd: string): Promise<string | undefined> {
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new ArchiveError('WAL_INVALID', `${path} is not a file`);
    if (isSegmentFile(file)) return checkSegment(await readHead(path), info.size, file).systemId;
    checkTextFile(await readFile(path), file);
  } catch (error) {
    if (isArchiveError(error)) throw error;
    throw unreadable(path, error);
  }
  const control = await findControlFile(dataDirectories(path, cwd).toReversed());
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
