/** Debian's client tools of PostgreSQL 15, which some tests compare with. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { serverUser } from './binaries.ts';

const FOLDER = '/usr/lib/postgresql/15/bin';

/** The path of a tool, or undefined where it is not installed: then the test is skipped, with {@link MISSING} as the reason. */
export function tool(name: string): string | undefined {
  const path = `${FOLDER}/${name}`;
  return existsSync(path) ? path : undefined;
}

/** Why a test that needs a tool does not run. */
export const MISSING = 'needs the client tools of PostgreSQL 15 (Debian: postgresql-15)';

/** Runs a tool to its end as the server's user, in a folder that it may enter; an exit code other than 0 is an error. */
export function runTool(name: string, args: readonly string[], folder = '/'): string {
  const result = spawnSync(`${FOLDER}/${name}`, args, {
    ...serverUser(),
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (result.status !== 0) throw new Error(`${name} ended with ${result.status}:\n${result.stdout}${result.stderr}`);
  return result.stdout;
}
