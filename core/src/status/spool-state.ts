/** What lies in the spool of a cluster on this host, whoever put it there. */
import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../contracts/errors.ts';
import { parseWalFileName } from '../postgres/wal-file.ts';

/** `absent`: no receiver has run here. `unreadable`: nobody could look. */
export type SpoolState =
  | {
      readonly state: 'read';
      /** WAL that is whole, and waits for a repository that lacks it. */
      readonly files: number;
      /** Of all files of WAL in it, the open segment too. */
      readonly bytes: number;
      /** Bytes that are free on its disk for the user of this process. */
      readonly freeBytes: number;
      /** When the oldest of `files` was finished, epoch milliseconds; absent when none waits. */
      readonly oldest?: number;
    }
  | { readonly state: 'absent' }
  | { readonly state: 'unreadable'; readonly problem: string };

/** Looks at the folder of a cluster. Never throws. */
export async function readSpoolState(spool: string, cluster: string): Promise<SpoolState> {
  const folder = join(spool, cluster);
  try {
    const systems = (await readdir(folder)).filter((name) => /^[0-9]{1,20}$/.test(name));
    const { bavail, bsize } = await statfs(folder);
    let files = 0;
    let bytes = 0;
    let oldest: number | undefined;
    for (const system of systems) {
      for (const name of await namesIfThere(join(folder, system))) {
        const file = parseWalFileName(name);
        if (file === undefined) continue;
        const info = await statIfThere(join(folder, system, name));
        if (info === undefined) continue;
        bytes += info.size;
        if (file.kind === 'partial') continue;
        files += 1;
        oldest = Math.min(oldest ?? Infinity, Math.floor(info.mtimeMs));
      }
    }
    return { state: 'read', files, bytes, freeBytes: bavail * bsize, ...(oldest !== undefined && { oldest }) };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { state: 'absent' };
    return { state: 'unreadable', problem: `${folder}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

async function namesIfThere(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** It is shipped and removed while somebody looks. */
async function statIfThere(path: string): Promise<{ readonly size: number; readonly mtimeMs: number } | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
