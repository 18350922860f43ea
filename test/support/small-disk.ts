/** A disk that is full soon: a file system in memory, where the tests may mount one. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  readonly path: string;
  unmount(): void;
}

/** A mounted folder with room for so many MiB, of `owner` if given; or why there is none. */
export function smallDisk(
  megabytes: number,
  owner?: { readonly uid: number; readonly gid: number },
): SmallDisk | string {
  if (process.getuid?.() !== 0) return 'only root may mount';
  const path = mkdtempSync(join(tmpdir(), 'pgark-small-disk-'));
  const owned = owner === undefined ? '' : `,uid=${owner.uid},gid=${owner.gid}`;
  const options = `size=${megabytes}m,mode=0755${owned}`;
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { encoding: 'utf8' });
  if (status !== 0) {
    rmdirSync(path);
    return `mounting is not allowed here: ${stderr.trim()}`;
  }
  return {
    path,
    unmount: () => {
      // Lazy, since a test that failed may still hold a file.
      spawnSync('umount', ['--lazy', path]);
      rmdirSync(path);
    },
  };
}
