import {
  chmodSync,
  closeSync,
  fchownSync,
  lchownSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

/**
 * Writes a file that is not there yet, readable for its user alone. What root writes belongs to whom its folder belongs: a command that an
 * administrator runs must not leave there what the receiver cannot read. Errors: those of the file system, and then there is no file.
 */
export function writeShared(path: string, content: string | Uint8Array): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    writeFileSync(file, content);
    giveToOwner(path, (uid, gid) => fchownSync(file, uid, gid));
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/**
 * Makes a folder for its user alone; by root, for whom the first folder belongs to that was there. What has to be made above it is the place of
 * the spool, where `wal-fetch` of another user looks for the last WAL: it must be able to see that there is none, or a recovery ends
 * after root has told of the restore.
 */
export function makeShared(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  let path = dirname(first);
  for (const name of relative(path, folder).split(sep)) {
    path = join(path, name);
    giveToOwner(path, (uid, gid) => lchownSync(path, uid, gid));
    // Not by the mode that it is made with, of which the umask may take away.
    if (path !== join(folder)) chmodSync(path, 0o755);
  }
}

function giveToOwner(path: string, give: (uid: number, gid: number) => void): void {
  if (process.getuid?.() !== 0) return;
  try {
    const { uid, gid } = statSync(dirname(path));
    if (uid !== 0) give(uid, gid);
  } catch {
    return; // a root that may not do that, as in a container: then it stays its own
  }
}
