import { ArchiveError, throwIfAborted } from '@pgark/sdk';
import type { Connection } from './connection.ts';
import { full, isFolder, parentOf, type Root } from './root.ts';
import { isAbsent, mapped, present, sftpError, STATUS, statusOf } from './sftp-error.ts';

/** How often a folder is made again that others prune. */
const FOLDER_ATTEMPTS = 100;

/** How often a publication is tried that failed without a reason to be seen. */
const UNCLEAR_ATTEMPTS = 3;

export interface PublishOptions {
  readonly ifAbsent: boolean;
  /** By a hard link, else by a rename. */
  readonly link: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Gives a temporary file its name. An abort still counts before the request is sent, not after. */
export async function publish(
  connection: Connection,
  root: Root,
  temporary: string,
  key: string,
  options: PublishOptions,
): Promise<void> {
  for (let attempt = 1; !(await tryPublish(connection, root, temporary, key, { ...options, attempt })); attempt++) {
    if (attempt < FOLDER_ATTEMPTS) continue;
    throw new ArchiveError('STORAGE_UNAVAILABLE', `storing ${key} failed: its folder vanished again and again`);
  }
}

/**
 * False when it is worth another attempt: the folder vanished, because a `remove` prunes folders that are empty for the moment; or a
 * name that was taken is free now.
 */
async function tryPublish(
  connection: Connection,
  root: Root,
  temporary: string,
  key: string,
  { ifAbsent, link, signal, attempt }: PublishOptions & { readonly attempt: number },
): Promise<boolean> {
  const path = root.join(key);
  const folder = parentOf(key);
  if (!(await root.ensureFolder(connection, folder === '' ? [] : folder.split('/')))) return false;
  throwIfAborted(signal, `storing ${key}`);
  try {
    if (!ifAbsent) await connection.replace(temporary, path);
    else if (link) await connection.link(temporary, path);
    else await connection.rename(temporary, path);
    return true;
  } catch (error) {
    if (isAbsent(error)) {
      root.forget(folder);
      await root.check(connection);
      await mapped(connection.stat(temporary), `storing ${key}`);
      return false;
    }
    const reason = await publishError(error, connection, root, key, ifAbsent);
    if (reason.code === 'STORAGE_UNAVAILABLE' && statusOf(error) !== undefined && attempt < UNCLEAR_ATTEMPTS)
      return false;
    throw reason;
  }
}

/** Says STORAGE_EXISTS if the key is taken, before a body is sent for nothing. */
export async function refuseExisting(connection: Connection, root: Root, key: string): Promise<void> {
  const error = await taken(connection, root, key);
  if (error !== undefined) throw error;
}

/** What stands under the name of the key, as an error; undefined for nothing. */
async function taken(connection: Connection, root: Root, key: string): Promise<ArchiveError | undefined> {
  const info = await present(connection.stat(root.join(key)), `looking up ${key}`);
  if (info === undefined) return undefined;
  if (!isFolder(info)) return new ArchiveError('STORAGE_EXISTS', `the object ${key} exists`);
  return new ArchiveError('STORAGE_INVALID_KEY', `${key} cannot be stored: a folder has this name`);
}

/**
 * Why a publication failed. The protocol has one code, FAILURE, for "exists", "no space", "other file system" and more: what it
 * was is found out by looking.
 */
async function publishError(
  error: unknown,
  connection: Connection,
  root: Root,
  key: string,
  ifAbsent: boolean,
): Promise<ArchiveError> {
  const what = `storing ${key}`;
  const status = statusOf(error);
  if (status === undefined) return sftpError(error, what);
  if (status === STATUS.OP_UNSUPPORTED) {
    const extension = ifAbsent ? 'hardlink@openssh.com' : 'posix-rename@openssh.com';
    return new ArchiveError('STORAGE_MISCONFIGURED', `${what} failed: the server does not offer ${extension}`, {
      cause: error,
      hint: ifAbsent
        ? 'Objects are published by a link, which never overwrites: allow it on the server, or set "createOnly: none" if only one process writes.'
        : 'Replacing an object needs it; pgark itself never replaces one.',
    });
  }
  const there = await taken(connection, root, key);
  if (there !== undefined && (ifAbsent || there.code === 'STORAGE_INVALID_KEY')) return there;
  if (status === STATUS.FAILURE && (await connection.isFull(root.path))) return full(what, error);
  const mappedError = sftpError(error, what);
  if (status !== STATUS.FAILURE && status !== STATUS.PERMISSION_DENIED) return mappedError;
  return new ArchiveError(mappedError.code, mappedError.message, {
    cause: error,
    details: mappedError.details,
    hint: 'The server took the object but not its name: look for a read-only disk, a file system without hard links, or an archive on more than one file system.',
  });
}
