/**
 * Where the socket of an agent is. The commands find it without reading the config: its name follows from the path of the config
 * file, and it lies, or a link to it, in a folder that only its user may write into. Loads nothing but built-in modules.
 */
import { lstatSync, realpathSync, statSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';

const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/** 16 hexadecimal digits for a config file and a cluster. Two of the same digits do no harm: agents look at the path itself. */
export function agentKey(config: string, cluster: string): string {
  // FNV-1a; loading the module for real hashes costs the client more than all it does.
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(`${config}\0${cluster}`))
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}

/** Folders that may hold the sockets of a user's agents, in the order in which they are looked into. */
export function runtimeFolders(uid: number): readonly string[] {
  return ['/run/pgark', `/tmp/pgark-${uid}`];
}

export function socketIn(folder: string, key: string): string {
  return join(folder, `${key}.sock`);
}

/** Whether nobody but this user and root can put a file into the folder, or another one in the place of a file there. */
export function isOwnFolder(folder: string, uid: number): boolean {
  const info = look(() => lstatSync(folder));
  if (info === undefined || !info.isDirectory()) return false;
  return info.uid === uid && (info.mode & OTHERS_WRITE) === 0;
}

/**
 * The socket at this path, symbolic links resolved, when only this user or root can have made it; else undefined. Another user's would
 * hand WAL to him, or false WAL to the server.
 */
export function ownSocket(path: string, uid: number): string | undefined {
  const real = look(() => realpathSync(path));
  if (real === undefined) return undefined;
  const folder = look(() => lstatSync(dirname(real)));
  const socket = look(() => statSync(real));
  if (folder === undefined || socket === undefined || !socket.isSocket() || socket.uid !== uid) return undefined;
  const closed = (folder.mode & OTHERS_WRITE) === 0 || (folder.mode & STICKY) !== 0;
  return closed && (folder.uid === uid || folder.uid === 0) ? real : undefined;
}

/** What cannot be looked at is as good as not there: the work is done without an agent then. */
function look<Value extends Stats | string>(at: () => Value): Value | undefined {
  try {
    return at();
  } catch {
    return undefined;
  }
}

/** The sockets at which an agent may be asked, in the order in which they are tried. */
export function findSockets(
  key: string,
  options: { readonly uid: number; readonly folders?: readonly string[] },
): readonly string[] {
  const { uid, folders = runtimeFolders(uid) } = options;
  return folders.flatMap((folder) => (isOwnFolder(folder, uid) ? (ownSocket(socketIn(folder, key), uid) ?? []) : []));
}
