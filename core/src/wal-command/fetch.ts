/** `restore_command`: one WAL file out of the archive. */
import { constants } from 'node:fs';
import { access, copyFile, stat, writeFile } from 'node:fs/promises';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { parseWalFileName, type WalFile } from '../postgres/wal-file.ts';
import { Spool } from '../receive/spool.ts';
import { isAbsentInSpool } from '../receive/spool-absence.ts';
import { allAnswers } from '../repository/all-answers.ts';
import type { Repository } from '../repository/repository.ts';
import { failureText, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { WalReader } from '../repository/wal.ts';
import { walReader } from '../repository/wal-union.ts';
import { findControlFile } from './data-directory.ts';
import { withDeadline } from './deadline.ts';
import { hasLaterWal, overlookedTimeline } from './later-wal.ts';
import type { Fork } from './fork.ts';
import { place } from './place.ts';
import type { RecoveryMode } from './recovery-mode.ts';
import { isSegmentFile } from './segment-check.ts';
import { tryAgain } from './try-again.ts';
import { takeTurn, type Turn } from './turn.ts';
import { unfinishedSegment } from './unfinished-segment.ts';

export interface WalFetchOptions {
  /** What PostgreSQL asks for, `%f`. */
  readonly name: string;
  /** Where it wants it, `%p`. */
  readonly path: string;
  /**
   * In the order in which they are asked: the file of the first that has it whole is taken. Those that fail do not matter while another
   * one has the file; only when all of them have answered is it missing.
   */
  readonly repositories: readonly [Repository, ...Repository[]];
  /** Whose WAL, decimal text. Default: that of the data directory, else the only one in the archive. */
  readonly systemId?: string;
  /** `receive.spool`: what was received but not shipped yet. */
  readonly spool?: string;
  /** The last segment to give; later ones are a miss, whatever there is of them: the archive has a hole behind it. */
  readonly until?: string;
  /**
   * The timeline that the recovery follows to its end. Default: the newest, as a standby does; an unfinished segment then ends where that
   * one has left the segment's timeline.
   */
  readonly timeline?: number;
  /** Folders that may be the data directory, for its system identifier. */
  readonly dataDirectories: readonly string[];
  readonly mode: RecoveryMode;
  /** Milliseconds in which a failure is tried again; a standby does not: PostgreSQL asks again by itself, and may stream meanwhile. */
  readonly retry: number;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
}

export type WalFetchResult =
  | { readonly outcome: 'fetched'; readonly source: 'archive' | 'spool' | 'tail' | 'partial' }
  /** Every place answered that it has no such file. */
  | { readonly outcome: 'missing' };

/** Milliseconds for one attempt: a storage that says nothing at all must not hold the recovery for ever. */
const ATTEMPT_LIMIT = 300_000;

/**
 * Puts a WAL file at `path`, whole and verified, or says that nothing has it. Any doubt is an error: PostgreSQL ends the
 * recovery and opens the cluster when it is told that there is no more WAL.
 *
 * Errors: those of the repository; `WAL_GAP` in a recovery for a segment that is missing although later ones exist, or for the history of a
 * timeline that is missing although there is that timeline, or a later one.
 */
export async function walFetch(options: WalFetchOptions): Promise<WalFetchResult> {
  const file = parseWalFileName(options.name);
  if (file === undefined)
    throw new ArchiveError('USAGE', `not the name of a WAL file: "${options.name.slice(0, 100)}"`, {
      hint: 'Give the command %f and %p, in this order.',
    });
  if (isBeyond(file, options.until)) return { outcome: 'missing' };
  const turn = takeTurn(options.path);
  try {
    return await tryAgain(options, () =>
      withDeadline(`fetching ${file.name}`, ATTEMPT_LIMIT, options.signal, (signal) =>
        fetchOnce(file, { ...options, signal, turn }),
      ),
    );
  } finally {
    turn.end();
  }
}

/**
 * Puts a whole file of the archive at `path`, verified like all that {@link walFetch} gives; false when the archive has none, whatever
 * else there is. It tries once. Errors: those of the repository.
 */
export async function fetchArchived(
  options: WalFetchOptions & { readonly systemId: string; readonly signal: AbortSignal },
): Promise<boolean> {
  const file = parseWalFileName(options.name);
  if (file === undefined || isBeyond(file, options.until)) return false;
  const { repositories, systemId, signal } = options;
  const turn = takeTurn(options.path);
  try {
    return await withDeadline(`fetching ${file.name}`, ATTEMPT_LIMIT, signal, async (either) => {
      const context = { ...options, signal: either, turn };
      const archive = walReader(repositories, systemId, { onFailure: (failure) => passOver(failure, context) });
      return fromArchive(archive, file, systemId, context);
    });
  } finally {
    turn.end();
  }
}

/** Whether a segment comes after the one of this name, on any timeline. */
export function isBeyond(file: WalFile, until: string | undefined): boolean {
  return until !== undefined && isSegmentFile(file) && file.name.slice(8, 24) > until.slice(8, 24);
}

export type FetchContext = WalFetchOptions & { readonly signal: AbortSignal };

interface Attempt extends FetchContext {
  readonly turn: Turn;
}

async function fetchOnce(file: WalFile, context: Attempt): Promise<WalFetchResult> {
  const { repositories, signal } = context;
  const systemId = await systemIdOf(context);
  const archive = walReader(repositories, systemId, { onFailure: (failure) => passOver(failure, context) });
  if (await fromArchive(archive, file, systemId, context)) return { outcome: 'fetched', source: 'archive' };
  const spool = file.kind === 'backup' ? undefined : await spoolOf(context, systemId);
  const places = { archive, spool, file, systemId };
  let source = await received(places, context);
  const later = { signal, spool, dataDirectories: context.dataDirectories };
  if (source === undefined && file.kind === 'segment') {
    if (!(await hasLaterWal(archive, file, later))) {
      const last = await unfinishedSegment(archive, file.name, {
        signal,
        ...(spool === undefined ? {} : { spool }),
        ...(context.timeline === undefined ? {} : { follow: context.timeline }),
        onFork: (fork) => warnOfFork(file, fork, context),
      });
      if (last !== undefined) {
        await place(context, file, systemId, (temporary) =>
          writeFile(temporary, last.bytes, { mode: 0o600, flag: 'wx' }),
        );
        return { outcome: 'fetched', source: last.source };
      }
      // What was unfinished at the first look may have become whole before the last one.
      source = await received(places, context);
    } else if (context.mode === 'recovery') {
      throw new ArchiveError('WAL_GAP', `the archive has no ${file.name}, although it has later segments`, {
        hint: 'The recovery stops here, because the data after the gap would be lost silently. Find the segment and archive it with "pgark wal-push", or restore to a target before it.',
      });
    }
  }
  if (source === undefined && file.kind === 'history' && context.mode === 'recovery') {
    const overlooked = await overlookedTimeline(archive, file.timeline, later);
    if (overlooked !== undefined)
      throw new ArchiveError('WAL_GAP', `the archive has no ${file.name}, although it has timeline ${overlooked}`, {
        hint: 'The recovery stops here, because PostgreSQL would open the cluster on an older timeline. Find the file and archive it with "pgark wal-push", or put it into pg_wal of this cluster.',
      });
  }
  if (source !== undefined) return { outcome: 'fetched', source };
  await allAreThere(repositories, systemId, signal);
  return { outcome: 'missing' };
}

/** The folder of the spool that holds the system's files, if this host has one. */
async function spoolOf({ spool, repositories }: FetchContext, systemId: string): Promise<string | undefined> {
  if (spool === undefined) return undefined;
  const folder = new Spool(spool, repositories[0].cluster).folderOf(systemId);
  try {
    return (await stat(folder)).isDirectory() ? folder : undefined;
  } catch (error) {
    if (isAbsentInSpool(error, folder)) return undefined;
    throw error;
  }
}

interface Places {
  readonly archive: WalReader;
  readonly spool: string | undefined;
  readonly file: WalFile;
  readonly systemId: string;
}

/** Puts a file in place that is whole in the spool, or was a moment ago, and says where it was. */
async function received(
  { archive, spool, file, systemId }: Places,
  context: Attempt,
): Promise<'archive' | 'spool' | undefined> {
  if (spool === undefined) return undefined;
  if (await fromSpool(spool, file, systemId, context)) return 'spool';
  // It may have been shipped, and removed there, since the archive was looked at.
  return (await fromArchive(archive, file, systemId, context)) ? 'archive' : undefined;
}

/** One repository could not be read, another one made up for it. */
function passOver(failure: RepositoryFailure, { logger }: FetchContext): void {
  const { repository, error } = failure;
  logger.warn({ repository, code: error.code }, `${failureText(failure)}; another repository is used`);
}

/** A recovery that is meant to stay on the old timeline would end too early; a standby asks for it again and again. */
function warnOfFork({ name }: WalFile, { end, timeline }: Fork, { logger, mode }: FetchContext): void {
  const hint = 'To recover to the end of the old timeline, name it with --timeline.';
  const message = `what there is of ${name} is given up to ${formatLsn(end)} only, where timeline ${timeline} has left it`;
  if (mode === 'standby') logger.debug({}, message);
  else logger.warn({ hint }, message);
}

/** Whose WAL is asked for. Errors: `USAGE` when nothing tells; those of the repositories. */
export async function systemIdOf(context: FetchContext): Promise<string> {
  const { systemId, dataDirectories } = context;
  if (systemId !== undefined) return systemId;
  const control = await findControlFile(dataDirectories);
  if (control !== undefined) return control.systemId;
  const known = await systemIds(context);
  const [only] = known;
  if (only !== undefined && known.length === 1) return only;
  throw new ArchiveError(
    'USAGE',
    `cannot tell whose WAL is asked for: the archive holds ${known.join(', ') || 'none'}`,
    {
      hint: 'Run the command in the data directory, or name the cluster with --system-id.',
    },
  );
}

/** The clusters that the archive holds. Each repository must tell: one alone may hold the WAL of another cluster. */
async function systemIds({ repositories, signal }: FetchContext): Promise<readonly string[]> {
  const ask = async (repository: Repository): Promise<readonly string[]> => {
    await repository.open({ signal });
    return repository.systemIds({ signal });
  };
  const found =
    repositories.length === 1
      ? await ask(repositories[0])
      : (await allAnswers(repositories, ask, { signal })).flatMap(({ value }) => value);
  return [...new Set(found)];
}

async function fromArchive(archive: WalReader, file: WalFile, systemId: string, context: Attempt): Promise<boolean> {
  const { signal } = context;
  const object = await archive.find(file.name, { signal });
  if (object === undefined) return false;
  await place(context, file, systemId, (temporary) => archive.fetch(object, temporary, { signal }));
  return true;
}

/** Whether the spool has the file, which then is at its place. */
async function fromSpool(folder: string, file: WalFile, systemId: string, context: Attempt): Promise<boolean> {
  const source = `${folder}/${file.name}`;
  try {
    await access(source, constants.R_OK);
  } catch (error) {
    if (isAbsentInSpool(error, source)) return false;
    throw error;
  }
  try {
    await place(context, file, systemId, (temporary) => copyFile(source, temporary, constants.COPYFILE_EXCL));
    return true;
  } catch (error) {
    // Shipped and removed between the two looks: it is in the archive then.
    if (isArchiveError(error) && errnoOf(error.cause) === 'ENOENT' && !(await exists(source))) return false;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    return !isAbsentInSpool(error, path);
  }
}

async function allAreThere(
  repositories: FetchContext['repositories'],
  systemId: string,
  signal: AbortSignal,
): Promise<void> {
  if (repositories.length === 1) return checkThatArchiveIsThere(repositories[0], systemId, signal);
  await allAnswers(repositories, (repository) => checkThatArchiveIsThere(repository, systemId, signal), { signal });
}

/**
 * A miss counts only in an archive that is really there: the folder of a disk that is not mounted is empty too, and so is
 * that of a wrong system identifier. Errors: `REPOSITORY_NOT_FOUND`.
 */
async function checkThatArchiveIsThere(repository: Repository, systemId: string, signal: AbortSignal): Promise<void> {
  await repository.open({ signal });
  const known = await repository.systemIds({ signal });
  if (known.includes(systemId)) return;
  throw new ArchiveError(
    'REPOSITORY_NOT_FOUND',
    `repository ${repository.name} holds nothing of the cluster ${systemId}`,
    {
      hint: known.length === 0 ? 'Check that the storage is mounted.' : `It holds ${known.join(', ')}.`,
    },
  );
}
