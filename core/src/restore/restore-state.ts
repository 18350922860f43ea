/** What a restore leaves in its folders while it is under way, so that it can be resumed, and nothing else be mistaken for it. */
import { readFileSync } from 'node:fs';
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { CONTROL_FILE_PATH } from '../postgres/control-file.ts';
import { restoreError } from './restore-error.ts';

/** Name of the state file, in the data directory and in every folder of a tablespace. */
export const STATE_FILE = 'pgark-restore.json';

export interface RestoreState {
  readonly format: 1;
  readonly systemId: string;
  readonly backup: string;
  /** New locations by OID. */
  readonly tablespaces: Readonly<Record<string, string>>;
  /** Names of parts whose files were all written, without the suffixes of codecs: a resumed run may read from another repository. */
  readonly parts: readonly string[];
  /** The process that works on it. */
  readonly pid: number;
  /** When that process began, as its kernel counts. */
  readonly started: string;
}

/** What a folder that is to be restored into holds. */
export type FolderState = { readonly kind: 'empty' } | { readonly kind: 'interrupted'; readonly state: RestoreState };

/**
 * Looks into a folder that a restore wants to write into. Errors: `RESTORE_TARGET_IN_USE` unless it is absent, empty, or holds an
 * interrupted restore that nobody works on.
 */
export async function inspectFolder(folder: string): Promise<FolderState> {
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { kind: 'empty' };
    if (errnoOf(error) === 'ENOTDIR') throw new ArchiveError('RESTORE_TARGET_IN_USE', `${folder} is not a folder`);
    throw restoreError(error, `looking into ${folder}`);
  }
  if (names.length === 0) return { kind: 'empty' };
  if (names.includes('postmaster.pid'))
    throw new ArchiveError(
      'RESTORE_TARGET_IN_USE',
      `${folder} is the data directory of a server that runs or has crashed`,
    );
  if (!names.includes(STATE_FILE)) throw new ArchiveError('RESTORE_TARGET_IN_USE', `${folder} is not empty`);
  const state = await readState(folder);
  const whole = await exists(join(folder, CONTROL_FILE_PATH));
  if (whole) throw new ArchiveError('RESTORE_TARGET_IN_USE', `${folder} holds a cluster that is restored already`);
  if (state.pid !== process.pid && state.started !== '' && processStart(state.pid) === state.started)
    throw new ArchiveError('RESTORE_TARGET_IN_USE', `process ${state.pid} is restoring into ${folder}`);
  return { kind: 'interrupted', state };
}

async function readState(folder: string): Promise<RestoreState> {
  const path = join(folder, STATE_FILE);
  try {
    const state = JSON.parse(await readFile(path, 'utf8')) as Partial<RestoreState>;
    if (state.format === 1 && typeof state.backup === 'string' && Array.isArray(state.parts))
      return state as RestoreState;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw restoreError(error, `reading ${path}`);
  }
  throw new ArchiveError('RESTORE_TARGET_IN_USE', `${path} is not the state of a restore by this version of pgark`, {
    hint: 'Empty the folder and run the command again.',
  });
}

/** Writes the state, whole or not at all. */
export async function writeState(folder: string, state: RestoreState): Promise<void> {
  const path = join(folder, STATE_FILE);
  try {
    const handle = await open(`${path}.tmp`, 'w', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify(state, undefined, 2)}\n`);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(`${path}.tmp`, path);
  } catch (error) {
    throw restoreError(error, `writing ${path}`);
  }
}

export async function removeState(folder: string): Promise<void> {
  await rm(join(folder, `${STATE_FILE}.tmp`), { force: true });
  await rm(join(folder, STATE_FILE), { force: true });
}

async function exists(path: string): Promise<boolean> {
  try {
    await readFile(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw restoreError(error, `reading ${path}`);
  }
}

/** When a process began (proc(5), field 22 of `stat`); empty without such a process or without /proc. */
export function processStart(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name is in parentheses and may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return ''; // no such process, or a system without /proc: nothing to compare
  }
}
