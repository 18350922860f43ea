/** A disk that is full soon: a file system in memory, where the tests may mount one. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  /** The folder; mounted when it is first asked for. */
  readonly path: string;
  unmount(): void;
}

/** A folder with room for so many MiB, of `owner` if given; or why there can be none. */
export function smallDisk(
  megabytes: number,
  owner?: { readonly uid: number; readonly gid: number },
): SmallDisk | string {
  if (process.getuid?.() !== 0) return 'only root may mount';
  const owned = owner === undefined ? '' : `,uid=${owner.uid},gid=${owner.gid}`;
  const mount = (): string => {
    const path = mkdtempSync(join(tmpdir(), 'pgark-small-disk-'));
    const options = `size=${megabytes}m,mode=0755${owned}`;
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { encoding: 'utf8' });
    if (status === 0) return path;
    rmdirSync(path);
    throw new Error(`mounting is not allowed here: ${stderr.trim()}`);
  };
  // Tried once: a run of which no test is chosen would not unmount it.
  try {
    unmount(mount());
  } catch (error) {
    return String(error);
  }
  let mounted: string | undefined;
  return {
    get path() {
      return (mounted ??= mount());
    },
    unmount: () => {
      const path = mounted;
      mounted = undefined;
      if (path !== undefined) unmount(path);
    },
  };
}

function unmount(path: string): void {
  // Lazy, since a test that failed may still hold a file.
  spawnSync('umount', ['--lazy', path]);
  rmdirSync(path);
}
