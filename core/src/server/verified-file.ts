/** A WAL file that is whole before the first byte of it is sent. */
import { createHash } from 'node:crypto';
import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { Repository } from '../repository/repository.ts';
import { walFetch } from '../wal-command/fetch.ts';
import type { WalAddress } from '../wal-command/wal-address.ts';

export interface VerifiedFileOptions {
  readonly repositories: readonly [Repository, ...Repository[]];
  /** `receive.spool`. */
  readonly spool?: string;
  /** The timeline that the client's recovery follows to its end; the newest without. */
  readonly timeline?: number;
  /** Where the file lies meanwhile. Default: the system's folder for temporary files. */
  readonly folder?: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** The content of a file that has no name any more: it is gone when the handle is closed. */
export interface VerifiedFile {
  readonly handle: FileHandle;
  readonly size: number;
  /** SHA-256 of the content, base64. */
  readonly sha256: string;
}

/**
 * Gets a file as `wal-fetch` would put it in place: from the archive, the spool, or what is known of the newest segment, filled up with zeroes.
 * It lies on disk, so that neither its size nor the pace of a client costs memory. Undefined when every place answered that it has none.
 *
 * Errors: those of {@link walFetch}, once and without further tries: who asks tries again, and knows for how long. `RESTORE_FAILED` when
 * the folder cannot be written.
 */
export async function verifiedFile(
  { systemId, file }: WalAddress,
  options: VerifiedFileOptions,
): Promise<VerifiedFile | undefined> {
  const folder = await temporaryFolder(options.folder ?? tmpdir());
  try {
    const path = join(folder, file.name);
    const { repositories, spool, timeline, logger, signal } = options;
    const result = await walFetch({
      name: file.name,
      path,
      repositories,
      systemId,
      ...(spool === undefined ? {} : { spool }),
      ...(timeline === undefined ? {} : { timeline }),
      dataDirectories: [],
      mode: 'recovery', // a hole must not look like the end to anyone
      retry: 0,
      logger,
      signal,
    });
    if (result.outcome === 'missing') return undefined;
    return await opened(path);
  } finally {
    // What was called off may still be writing in there: it fails then, or what it writes has no name.
    await rm(folder, { recursive: true, force: true, maxRetries: 3 }).catch((error: unknown) =>
      options.logger.warn({ error }, `cannot remove ${folder}`),
    );
  }
}

/** A new one for each file, that nobody else can enter: one that lives long may be swept away by the system, and made anew by others. */
async function temporaryFolder(parent: string): Promise<string> {
  try {
    return await mkdtemp(join(parent, 'pgark-serve-'));
  } catch (error) {
    throw new ArchiveError('RESTORE_FAILED', `cannot make a folder in ${parent}: ${errnoOf(error) ?? String(error)}`, {
      cause: error,
      hint: 'Check serve.folder, its permissions and the space on its disk.',
    });
  }
}

const READ_SIZE = 1024 * 1024;

async function opened(path: string): Promise<VerifiedFile> {
  const handle = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(READ_SIZE);
    let size = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, size);
      if (bytesRead === 0) return { handle, size, sha256: hash.digest('base64') };
      hash.update(buffer.subarray(0, bytesRead));
      size += bytesRead;
    }
  } catch (error) {
    await handle.close();
    throw error;
  }
}
