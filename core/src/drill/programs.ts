/** Finds the PostgreSQL programs of a major version on this host. */
import { execFile } from 'node:child_process';
import { access, constants, realpath } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';

export interface Programs {
  /** The folder that holds them. */
  readonly folder: string;
  /** Absolute path of `postgres`. */
  readonly postgres: string;
}

export interface FindProgramsOptions extends CallOptions {
  /** The folder that the operator named: no other is looked into. */
  readonly bin?: string | undefined;
  /** `PATH`. */
  readonly path?: string | undefined;
}

const run = promisify(execFile);

/** Where packages of Debian, of Red Hat, of Homebrew and of FreeBSD put them. */
const PLACES = (major: number): readonly string[] => [
  `/usr/lib/postgresql/${major}/bin`,
  `/usr/pgsql-${major}/bin`,
  `/opt/homebrew/opt/postgresql@${major}/bin`,
  `/usr/local/opt/postgresql@${major}/bin`,
  '/usr/local/pgsql/bin',
  '/usr/local/bin',
];

/** The programs that can run a backup of this `server_version_num`. Errors: `DRILL_INCONCLUSIVE` when this host has none, `ABORTED`. */
export async function findPrograms(serverVersion: number, options: FindProgramsOptions): Promise<Programs> {
  const { bin, path = '', signal } = options;
  const major = Math.floor(serverVersion / 10_000);
  const folders =
    bin === undefined ? [...path.split(delimiter).filter((folder) => folder !== ''), ...PLACES(major)] : [bin];
  const seen: string[] = [];
  for (const folder of new Set(folders)) {
    const postgres = join(folder, 'postgres');
    const version = await versionOf(postgres, signal);
    if (version === undefined) continue;
    // In PATH there may be a link to this one program alone; the others lie beside the program itself.
    if (version === major) return { folder: dirname(await realpath(postgres)), postgres };
    seen.push(`${postgres} is version ${version}`);
  }
  const found = seen.length === 0 ? '' : `: ${seen.join(', ')}`;
  const where = bin === undefined ? 'on this host' : `in ${bin}`;
  throw new ArchiveError('DRILL_INCONCLUSIVE', `there is no PostgreSQL ${major} ${where}${found}`, {
    hint: `Install the server of PostgreSQL ${major}, or name the folder of its programs with drill.bin.`,
  });
}

/** Whether a program lies beside the server. */
export async function hasProgram({ folder }: Programs, name: string): Promise<boolean> {
  try {
    await access(join(folder, name), constants.X_OK);
    return true;
  } catch {
    return false; // what cannot be run is not there for the purpose
  }
}

async function versionOf(postgres: string, signal: AbortSignal | undefined): Promise<number | undefined> {
  try {
    await access(postgres, constants.X_OK);
    const { stdout } = await run(postgres, ['--version'], {
      timeout: 10_000,
      ...(signal === undefined ? {} : { signal }),
    });
    const major = /\) (\d+)/.exec(stdout)?.[1];
    return major === undefined ? undefined : Number(major);
  } catch (error) {
    if (signal?.aborted === true) throw new ArchiveError('ABORTED', 'the drill was cancelled', { cause: error });
    return undefined; // not there, or not a program of this system
  }
}
