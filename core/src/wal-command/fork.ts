/** Where the WAL of a timeline ends for a recovery that goes on along another one. */
import { readdir, readFile } from 'node:fs/promises';
import type { CallOptions } from '../contracts/storage.ts';
import { parseHistory } from '../postgres/timeline.ts';
import { historyName, parseWalFileName } from '../postgres/wal-file.ts';
import { isAbsentInSpool } from '../receive/spool-absence.ts';
import type { WalReader } from '../repository/wal.ts';

/** The end of a timeline in the history of another one. */
export interface Fork {
  /** Its WAL counts up to, not including, this LSN. */
  readonly end: bigint;
  /** The timeline that goes on there, or descends from the one that does. */
  readonly timeline: number;
}

export interface ForkOptions extends CallOptions {
  /** The folder of the spool that holds the system's files. */
  readonly spool?: string;
  /** The timeline that the recovery follows to its end. Default: the newest one that descends from the timeline in question. */
  readonly follow?: number;
}

/**
 * Where the timeline that is followed leaves this one; undefined when it does not, as far as histories in the archive and the spool tell.
 * Errors: `WAL_INVALID` for a history that is none, those of the storage and the spool.
 */
export async function forkOf(archive: WalReader, timeline: number, options: ForkOptions): Promise<Fork | undefined> {
  const { follow } = options;
  const known = follow === undefined ? await timelinesOf(archive, options) : [follow];
  for (const candidate of known) {
    if (candidate <= timeline) continue;
    const history = await historyOf(archive, candidate, options);
    if (history === undefined) continue;
    const ancestors = parseHistory(history, historyName(candidate));
    const end = ancestors.find((ancestor) => ancestor.timeline === timeline)?.end;
    if (end !== undefined) return { end, timeline: candidate };
  }
  return undefined;
}

/** All that have a history, newest first, as PostgreSQL looks for the latest one. */
async function timelinesOf(archive: WalReader, options: ForkOptions): Promise<readonly number[]> {
  const [archived, spooled] = await Promise.all([archive.timelines(options), inSpool(options.spool)]);
  return [...new Set([...archived, ...spooled])].sort((one, other) => other - one);
}

async function inSpool(folder: string | undefined): Promise<readonly number[]> {
  if (folder === undefined) return [];
  try {
    const files = (await readdir(folder)).map((name) => parseWalFileName(name));
    return files.flatMap((file) => (file?.kind === 'history' ? [file.timeline] : []));
  } catch (error) {
    if (isAbsentInSpool(error, folder)) return [];
    throw error;
  }
}

async function historyOf(archive: WalReader, timeline: number, options: ForkOptions): Promise<Uint8Array | undefined> {
  const archived = await archive.history(timeline, options);
  if (archived !== undefined || options.spool === undefined) return archived?.content;
  const path = `${options.spool}/${historyName(timeline)}`;
  try {
    return await readFile(path);
  } catch (error) {
    if (!isAbsentInSpool(error, path)) throw error;
    // Shipped, and removed there, since the archive was looked at.
    return (await archive.history(timeline, options))?.content;
  }
}
