/** Keeps a drill out of folders that belong to a cluster. */
import { readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { restoreError } from '../restore/restore-error.ts';
import { STATE_FILE } from '../restore/restore-state.ts';

/** A socket in the folder has a path of at most 107 bytes (unix(7)); this much is added to it: `/run/.s.PGSQL.5432.lock`. */
const SOCKET_ROOM = 23;
const SOCKET_PATH = 107;

/**
 * The folder of a drill as it really lies, without links. Errors: `USAGE` for one that a socket cannot lie in, and
 * `RESTORE_TARGET_IN_USE` for one inside a data directory, a tablespace or a folder that is being restored into, or one that touches
 * the place of a tablespace of the backup (`locations`), which is live on the host of the old server.
 */
export async function guardFolder(folder: string, locations: readonly string[]): Promise<string> {
  const real = await realPath(resolve(folder));
  if (Buffer.byteLength(real) > SOCKET_PATH - SOCKET_ROOM)
    throw new ArchiveError('USAGE', `the path of the folder is too long for a socket in it: ${real}`, {
      hint: `Choose one of at most ${SOCKET_PATH - SOCKET_ROOM} bytes with drill.folder or --folder.`,
    });
  for (let at = real; ; at = dirname(at)) {
    const whose = await belongsTo(at);
    if (whose !== undefined && at !== real) throw inUse(`${real} lies inside ${at}, ${whose}`);
    // What the folder itself holds is looked at when it is claimed.
    if (at === dirname(at)) break;
  }
  for (const location of locations) {
    const place = await realPath(resolve(location));
    if (touches(real, place)) throw inUse(`${real} touches ${place}, a tablespace of the server that was backed up`);
  }
  return real;
}

function inUse(message: string): ArchiveError {
  return new ArchiveError('RESTORE_TARGET_IN_USE', message, {
    hint: 'Give the drill a folder of its own with drill.folder or --folder.',
  });
}

function touches(one: string, other: string): boolean {
  const inside = (folder: string, path: string): boolean => path === folder || path.startsWith(join(folder, sep));
  return inside(one, other) || inside(other, one);
}

/** What a folder is to a cluster, if anything. */
async function belongsTo(folder: string): Promise<string | undefined> {
  const names = await namesIn(folder);
  if (names.includes('PG_VERSION')) return 'a data directory or a part of one';
  if (names.includes(STATE_FILE)) return 'which is being restored into';
  // PostgreSQL gives each version a folder in a tablespace, `PG_15_202209061`.
  if (names.some((name) => /^PG_\d+_\d+$/.test(name))) return 'the folder of a tablespace';
  if (/^PG_\d+_\d+$/.test(basename(folder))) return 'a tablespace';
  return undefined;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return [];
    // A folder above may be entered without being listed; a data directory of the same user can be.
    if (errno === 'EACCES') return [];
    throw restoreError(error, `looking into ${folder}`);
  }
}

/** The path without links, of something that need not exist. */
async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || path === dirname(path)) throw restoreError(error, `looking for ${path}`);
    return join(await realPath(dirname(path)), basename(path));
  }
}
