import { dirname } from 'node:path';
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { walFetch as fetch, type WalFetchResult } from '../wal-command/fetch.ts';
import { dataDirectories, recoveryMode } from '../wal-command/recovery-mode.ts';
import type { ChosenRepositories } from './call.ts';
import type { Workplace } from './workplace.ts';

export interface WalFetchCall extends CallOptions, ChosenRepositories {
  /** What PostgreSQL asks for, `%f`. */
  readonly name: string;
  /** Where it wants it, `%p`. */
  readonly path: string;
  /** Folders that may be the data directory, for its system identifier and its mode. Default: those around `path`. */
  readonly dataDirectories?: readonly string[];
  /** Whose WAL, decimal text. Default: that of the data directory, else the only one in the archive. */
  readonly systemId?: string;
  /** The last segment to give: the archive has a hole behind it. */
  readonly until?: string;
  /** The timeline that the recovery follows to its end. Default: the newest. */
  readonly timeline?: number;
  /** Reads storages with versions as they were at this moment. */
  readonly asOf?: Date;
}

/** See `Archive.walFetch`. */
export async function walFetch(at: Workplace, call: WalFetchCall): Promise<WalFetchResult> {
  const { config, logger, signal } = at;
  const { name, path, asOf, systemId, until, timeline, repositories: names = [] } = call;
  if (timeline !== undefined && !(Number.isInteger(timeline) && timeline > 0))
    throw new ArchiveError('USAGE', `not the number of a timeline: ${timeline}`);
  const directories = call.dataDirectories ?? dataDirectories(path, dirname(path));
  const past = asOf === undefined ? {} : { asOf };
  // It tries again in its own way.
  const { repositories } = await at.open({ repositories: names, ...past, retry: { deadline: 0 } });
  const result = await fetch({
    name,
    path,
    repositories,
    dataDirectories: directories,
    mode: recoveryMode(directories),
    ...(systemId !== undefined && { systemId }),
    ...(until !== undefined && { until }),
    ...(timeline !== undefined && { timeline }),
    spool: config.receive.spool,
    retry: config.restore.walRetry,
    logger,
    signal,
  });
  logger.debug({ file: name, ...result }, result.outcome);
  return result;
}
