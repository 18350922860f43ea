/** What becomes of a segment that cannot be archived while the disk of `pg_wal` is about to fill (`push.onFullDisk: drop`). */
import { stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { PushConfig } from '../config/config.ts';
import { isArchiveError, type ArchiveError } from '../contracts/errors.ts';
import type { ArchiveEvents } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { parseWalFileName } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import { withDeadline } from './deadline.ts';
import { gapOf, type DroppedSegments } from './dropped-segments.ts';
import { checkFile, clusterOf } from './local-file.ts';
import { walPush, type WalPushOptions, type WalPushResult } from './push.ts';

export interface LetGoOptions extends WalPushOptions {
  readonly dropped: DroppedSegments;
  readonly policy: PushConfig;
  readonly logger: Logger;
  /** Tells of a gap. Rejects when a hook with the policy `fail` was not told: then the segment is kept. */
  readonly onGap: (gap: ArchiveEvents['wal.gap']) => Promise<void>;
}

export interface LetGoResult {
  readonly name: string;
  readonly systemId: string;
  readonly outcome: 'dropped';
  /** Absent for the label of a backup, which is no WAL. */
  readonly gap?: ArchiveEvents['wal.gap'];
  /** Those that lack it. */
  readonly repositories: readonly { readonly name: string; readonly outcome: 'dropped' }[];
}

/** Milliseconds for a repository, which has just failed, to take the record of a gap. It is owed otherwise. */
const RECORD_LIMIT = 2000;
/** Milliseconds in which segments are shipped that were let go, and are still there. */
const SHIP_LIMIT = 5000;

/**
 * As `walPush`; but a segment that cannot be archived now is let go when the policy wants it and the disk is about to fill. Before that
 * the gap is on record beside the spool and, as far as they take it, in the repositories. Without such a record the segment is kept.
 *
 * Errors: those of `walPush`; of a hook that had to be told.
 */
export async function pushOrLetGo(options: LetGoOptions): Promise<WalPushResult | LetGoResult> {
  try {
    const result = await walPush(options);
    await shipLate(result.systemId, options);
    return result;
  } catch (error) {
    if (!(await mayLetGo(error, options))) throw error;
    return letGo(error as ArchiveError, options);
  }
}

/** Whether a failed `wal-push` is one that lets the segment go. What cannot be found out keeps it. */
export async function mayLetGo(
  error: unknown,
  { policy, name, path }: Pick<LetGoOptions, 'policy' | 'name' | 'path'>,
): Promise<boolean> {
  if (policy.onFullDisk !== 'drop' || !isArchiveError(error)) return false;
  // Histories and the ends of timelines are small or rare, and nothing stands in for them. A label is not WAL, but stands in the way of it.
  const kind = parseWalFileName(name)?.kind;
  if (kind !== 'segment' && kind !== 'backup') return false;
  if (!isAway(error)) return false;
  try {
    const { bavail, bsize } = await statfs(dirname(path));
    return bavail * bsize < policy.minFree;
  } catch {
    return false;
  }
}

/** Whether the surroundings failed. Damage, conflicts, mistakes and cancelled work are no reason to lose WAL. */
function isAway({ code, exitCode, details }: ArchiveError): boolean {
  if (code !== 'REPOSITORY_BEHIND') return exitCode === 2 || code === 'REPOSITORY_NOT_FOUND';
  return lackingOf(details).every((one) => one.code === 'REPOSITORY_NOT_FOUND' || /^(?:STORAGE|SPOOL)_/.test(one.code));
}

interface Lacking {
  readonly name: string;
  readonly code: string;
}

/** Those that do not have the file, of the details of `REPOSITORY_BEHIND`. */
function lackingOf(details: ArchiveError['details']): readonly Lacking[] {
  const all = (details['repositories'] ?? []) as readonly Partial<Lacking>[];
  return all.flatMap(({ name, code }) => (name === undefined || code === undefined ? [] : [{ name, code }]));
}

async function letGo(cause: ArchiveError, options: LetGoOptions): Promise<LetGoResult> {
  const { name, path, repositories, systemId: given, dropped, logger, onGap } = options;
  const file = parseWalFileName(name);
  if (file === undefined) throw cause;
  const systemId = await clusterOf(file, path, { systemId: given });
  const names = cause.code === 'REPOSITORY_BEHIND' ? lackingOf(cause.details).map((one) => one.name) : undefined;
  const lacking = repositories.filter((repository) => names?.includes(repository.name) ?? true);
  const result: LetGoResult = {
    name,
    systemId,
    outcome: 'dropped',
    repositories: lacking.map((repository) => ({ name: repository.name, outcome: 'dropped' })),
  };
  const why = `the disk of ${dirname(path)} is about to fill, and ${cause.message}`;
  if (file.kind === 'backup') {
    logger.error({ file: name, code: cause.code }, `the label ${name} is let go and not archived: ${why}`);
    return result;
  }
  const segmentSize = (await stat(path)).size;
  const { timeline, from, to } = gapOf({ name, segmentSize });
  const gap = { timeline, from: formatLsn(from), to: formatLsn(to), reason: `${name} was let go: ${why}` };
  try {
    const known = dropped.list();
    for (const repository of lacking) {
      const record = { repository: repository.name, systemId, name };
      // An earlier attempt has come this far.
      if (known.some((one) => one.repository === record.repository && one.systemId === systemId && one.name === name))
        continue;
      dropped.put({ ...record, segmentSize, time: Date.now(), reason: gap.reason, recorded: false });
    }
  } catch (failure) {
    const text = failure instanceof Error ? failure.message : String(failure);
    logger.error(
      { file: name },
      `${name} is kept although the disk is about to fill: its loss cannot be recorded: ${text}`,
    );
    throw cause;
  }
  await Promise.all(lacking.map((repository) => record(repository, systemId, options)));
  logger.error(
    { file: name, ...gap, repositories: lacking.map((repository) => repository.name) },
    `WAL is lost: ${gap.reason}`,
  );
  await onGap(gap);
  return { ...result, gap };
}

/** Puts the gap on record where that can be done; elsewhere it is owed. Never rejects. */
async function record(
  repository: Repository,
  systemId: string,
  { path, dropped, signal, logger }: LetGoOptions,
): Promise<void> {
  try {
    await withDeadline(`recording a gap in repository ${repository.name}`, RECORD_LIMIT, signal, async (either) => {
      await repository.open({ signal: either });
      await dropped.deliver(repository, systemId, { walFolder: dirname(path), signal: either });
    });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    logger.warn(
      { repository: repository.name },
      `the gap is put on record in repository ${repository.name} when it is back: ${text}`,
    );
  }
}

/**
 * Ships what was let go and is still in `pg_wal`, now that the repositories answer: their gaps, which are on record, are none then.
 * Never rejects: nobody waits for these segments any more.
 */
export async function shipLate(systemId: string, options: Omit<LetGoOptions, 'policy' | 'onGap'>): Promise<void> {
  const { path, repositories, dropped, signal, logger } = options;
  const end = performance.now() + SHIP_LIMIT;
  try {
    for (const repository of repositories) {
      for (const segment of dropped.of(repository, systemId)) {
        const left = end - performance.now();
        if (left <= 0) return;
        const { name } = segment;
        const late = join(dirname(path), name);
        const file = parseWalFileName(name);
        if (file === undefined) continue;
        try {
          const outcome = await withDeadline(`shipping ${name}`, left, signal, async (either) => {
            const checked = await checkFile(file, late, { systemId });
            return repository.wal(systemId).push(name, checked.source(either), { signal: either });
          });
          logger.info({ file: name, repository: repository.name, outcome }, `${name} was let go, and is archived now`);
        } catch (error) {
          // It is gone, or the server has put other WAL into its file: lost for good, and on record.
          if (!isArchiveError(error, 'WAL_INVALID')) throw error;
        }
        dropped.remove(segment);
      }
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    logger.warn({}, `what was let go and is still in ${dirname(path)} is not shipped now: ${text}`);
  }
}
