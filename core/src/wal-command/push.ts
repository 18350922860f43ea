/** `archive_command`: one WAL file into the archive. */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import { parseWalFileName, SEGMENT_HEADER_BYTES, type WalFile } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import { dataDirectories, findControlFile } from './data-directory.ts';
import { withDeadline } from './deadline.ts';
import { checkSegment, checkTextFile, isSegmentFile } from './segment-check.ts';

export interface WalPushOptions {
  /** The file, `%p`. */
  readonly path: string;
  /** Its name, `%f`. */
  readonly name: string;
  readonly repository: Repository;
  /** Whose WAL it must be, decimal text. Default: what the file says, or what lies beside it. */
  readonly systemId?: string;
  /** Milliseconds for the whole; default one minute, after which PostgreSQL tries again. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

export interface WalPushResult {
  readonly name: string;
  readonly systemId: string;
  /** `present`: the archive had this very content already. */
  readonly outcome: 'stored' | 'present';
}

const DEFAULT_TIMEOUT = 60_000;

/**
 * Archives one WAL file; when it returns, the file is durable in the storage.
 *
 * Errors: `WAL_INVALID` for a file that is not what its name says, `SYSTEM_MISMATCH`, `WAL_CONFLICT` when the archive holds
 * the name with other content, `STORAGE_UNAVAILABLE` after the time, those of the repository.
 */
export async function walPush(options: WalPushOptions): Promise<WalPushResult> {
  const { name, path, repository } = options;
  const file = parseWalFileName(name);
  if (file === undefined)
    throw new ArchiveError('WAL_INVALID', `not the name of a WAL file: "${name.slice(0, 100)}"`, {
      hint: 'Give the command %p and %f, in this order.',
    });
  return withDeadline(`archiving ${name}`, options.timeout ?? DEFAULT_TIMEOUT, options.signal, async (signal) => {
    const found = await systemIdOf(file, path);
    const systemId = options.systemId ?? found;
    if (systemId === undefined)
      throw new ArchiveError('WAL_INVALID', `cannot tell from which cluster ${path} is`, {
        hint: 'It lies beside no segment and in no data directory: name the cluster with --system-id.',
      });
    if (found !== undefined && found !== systemId)
      throw new ArchiveError('SYSTEM_MISMATCH', `${name} is of the cluster ${found}, not ${systemId}`);
    // Not created here: an empty folder may be that of a disk that is not mounted, and the server drops what is archived.
    await repository.open({ signal });
    const outcome = await repository.wal(systemId).push(name, { path }, { signal });
    return { name, systemId, outcome };
  });
}

/** Checks the file against its name and gives the system identifier of the cluster it comes from, if anything tells. */
async function systemIdOf(file: WalFile, path: string): Promise<string | undefined> {
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new ArchiveError('WAL_INVALID', `${path} is not a file`);
    if (isSegmentFile(file)) return checkSegment(await readHead(path), info.size, file).systemId;
    checkTextFile(await readFile(path), file);
  } catch (error) {
    if (isArchiveError(error)) throw error;
    throw new ArchiveError('WAL_INVALID', `cannot read ${path}: ${errnoOf(error) ?? String(error)}`, { cause: error });
  }
  const control = await findControlFile(dataDirectories(path, process.cwd()).toReversed());
  return control?.systemId ?? (await systemIdBeside(path));
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
