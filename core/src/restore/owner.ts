/** Who owns the restored files. */
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const run = promisify(execFile);

/**
 * Whom to give the files: `USER`, `USER:GROUP` or numbers. Without it, root gives them to the owner of the folder if that exists,
 * else to the user `postgres`, else to the owner of the folder above: PostgreSQL does not run as root. Undefined when the
 * present user keeps them.
 *
 * Errors: `USAGE` for an unknown user, for root, and when only root could give files away.
 */
export async function resolveOwner(wanted: string | undefined, directory: string): Promise<Owner | undefined> {
  const isRoot = process.getuid?.() === 0;
  if (wanted !== undefined) {
    const owner = await lookUp(wanted);
    if (owner === undefined) throw new ArchiveError('USAGE', `there is no user "${wanted}" here`);
    if (owner.uid === 0) throw rootError(`--owner ${wanted}`);
    if (!isRoot && owner.uid !== process.getuid?.())
      throw new ArchiveError('USAGE', `only root can give files to ${wanted}`, {
        hint: 'Run the command as that user.',
      });
    return isRoot ? owner : undefined;
  }
  if (!isRoot) return undefined;
  const owner = (await ownerOf(directory)) ?? (await lookUp('postgres')) ?? (await ownerAbove(directory));
  if (owner !== undefined && owner.uid !== 0) return owner;
  throw rootError(directory);
}

function rootError(what: string): ArchiveError {
  return new ArchiveError('USAGE', `the files of ${what} would belong to root, and PostgreSQL does not run as root`, {
    hint: 'Name the user of the server with --owner, or run the command as that user.',
  });
}

async function ownerOf(path: string): Promise<Owner | undefined> {
  try {
    const { uid, gid } = await stat(path);
    return { uid, gid };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function ownerAbove(directory: string): Promise<Owner | undefined> {
  for (let path = dirname(directory); ; path = dirname(path)) {
    const owner = await ownerOf(path);
    if (owner !== undefined || path === dirname(path)) return owner;
  }
}

/** Asks `id`, which knows users of directories such as LDAP too. */
async function lookUp(text: string): Promise<Owner | undefined> {
  const [user = '', group] = text.split(':');
  if (/^\d+$/.test(user) && /^\d+$/.test(group ?? '')) return { uid: Number(user), gid: Number(group) };
  if (user === '' || user.startsWith('-')) return undefined;
  try {
    const uid = Number((await run('id', ['-u', user])).stdout);
    const gid = group === undefined ? Number((await run('id', ['-g', user])).stdout) : await groupId(group);
    return gid === undefined ? undefined : { uid, gid };
  } catch {
    return undefined; // `id` says that there is no such user
  }
}

async function groupId(group: string): Promise<number | undefined> {
  if (/^\d+$/.test(group)) return Number(group);
  const { stdout } = await run('getent', ['group', group]);
  const id = Number(stdout.split(':')[2]);
  return Number.isInteger(id) ? id : undefined;
}
