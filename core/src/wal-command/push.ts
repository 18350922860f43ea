/** `archive_command`: one WAL file into the archive. */
import { ArchiveError } from '../contracts/errors.ts';
import { parseWalFileName } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import { withDeadline } from './deadline.ts';
import type { WalSource } from '../repository/wal.ts';
import type { DroppedSegments } from './dropped-segments.ts';
import { clusterOf, type FileChecks } from './local-file.ts';
import { openForPush, type PushTarget } from './open-for-push.ts';
import { pushToAll } from './push-to-all.ts';

export interface WalPushOptions {
  /** The file, `%p`. */
  readonly path: string;
  /** Its name, `%f`. */
  readonly name: string;
  /** All of them get the file. */
  readonly repositories: readonly [Repository, ...Repository[]];
  /** Whose WAL it must be, decimal text. Default: what the file says, or what lies beside it. */
  readonly systemId?: string;
  /** Milliseconds for the whole; default one minute, after which PostgreSQL tries again. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
  /** What is known of files already. Default: each is read for itself. */
  readonly files?: FileChecks;
  /** Puts a checked file into a repository. Default: {@link pushFile}. */
  readonly push?: PushFile;
  /** What was let go before: no repository gets another file before it has those gaps on record. */
  readonly dropped?: DroppedSegments;
}

/** One file into the WAL of a repository that is open. */
export type PushFile = (
  repository: Repository,
  target: PushTarget,
  source: WalSource,
  signal: AbortSignal,
) => Promise<'stored' | 'present'>;

export interface WalPushResult {
  readonly name: string;
  readonly systemId: string;
  /** `present`: every repository had this very content already. */
  readonly outcome: 'stored' | 'present';
  /** In the order of the options. */
  readonly repositories: readonly { readonly name: string; readonly outcome: 'stored' | 'present' }[];
}

const DEFAULT_TIMEOUT = 60_000;

export const pushFile: PushFile = (repository, { name, systemId }, source, signal) =>
  repository.wal(systemId).push(name, source, { signal });

/**
 * Archives one WAL file; when it returns, the file is durable in every repository.
 *
 * With several repositories, while some fail or keep silent, those that work get the files that PostgreSQL has ready behind this one, too.
 *
 * Errors: `WAL_INVALID` for a file that is not what its name says, `SYSTEM_MISMATCH`, `WAL_CONFLICT` when a repository holds
 * the name with other content, `REPOSITORY_BEHIND` when some of the repositories have the file, `STORAGE_UNAVAILABLE` after the time, those
 * of the repository.
 */
export async function walPush(options: WalPushOptions): Promise<WalPushResult> {
  const { name, path, repositories, systemId: given, timeout = DEFAULT_TIMEOUT, signal, files } = options;
  const { dropped } = options;
  const push = forgetting(options.push ?? pushFile, dropped);
  const file = parseWalFileName(name);
  if (file === undefined)
    throw new ArchiveError('WAL_INVALID', `not the name of a WAL file: "${name.slice(0, 100)}"`, {
      hint: 'Give the command %p and %f, in this order.',
    });
  const [repository, ...more] = repositories;
  if (more.length > 0)
    return pushToAll({ file, path, repositories, systemId: given, timeout, signal, files, push, dropped });
  return withDeadline(`archiving ${name}`, timeout, signal, async (either) => {
    const checked = await files?.get(file, path, given);
    const systemId = checked?.systemId ?? (await clusterOf(file, path, { systemId: given }));
    const target = { name, path, systemId };
    await openForPush(repository, target, { dropped, signal: either });
    const source = checked?.source(either) ?? { path };
    const outcome = await push(repository, target, source, either);
    return { name, systemId, outcome, repositories: [{ name: repository.name, outcome }] };
  });
}

/** What is archived was not lost, even if an earlier command was about to let it go. */
function forgetting(push: PushFile, dropped: DroppedSegments | undefined): PushFile {
  if (dropped === undefined) return push;
  return async (repository, target, source, signal) => {
    const outcome = await push(repository, target, source, signal);
    dropped.remove({ repository: repository.name, systemId: target.systemId, name: target.name });
    return outcome;
  };
}
