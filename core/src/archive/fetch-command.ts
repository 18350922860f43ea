/** What a `restore_command` runs. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ArchiveError } from '../contracts/errors.ts';
import type { Workplace } from './workplace.ts';

/**
 * Program and arguments that fetch WAL from these repositories, from all of the config when none is named; as they were at a moment.
 * Errors: `USAGE` for a config that another process cannot read.
 */
export function fetchCommandOf(
  { loaded, command }: Pick<Workplace, 'loaded' | 'command'>,
  repositories: readonly string[],
  asOf?: Date,
): readonly string[] {
  const { config, path } = loaded;
  if (path === undefined && command === undefined)
    throw new ArchiveError('USAGE', 'the config is in no file, and a restored server fetches its WAL by one', {
      hint: 'Open the archive with the path of a config file, or give it the "command" of a pgark that has its config.',
    });
  const file = path === undefined ? [] : ['--config', path];
  const names = repositories.flatMap((name) => ['--repository', name]);
  const past = asOf === undefined ? [] : ['--as-of', asOf.toISOString()];
  const own = command ?? [process.execPath, installed('pgark.js')];
  const { socket, script } = config.agent;
  const asked =
    socket === undefined || !script
      ? { by: [], at: [] }
      : { by: [installed('pgark-wal')], at: ['--agent-socket', socket] };
  return [...asked.by, ...own, ...file, '--cluster', config.cluster, ...asked.at, 'wal-fetch', ...names, ...past];
}

/** A program of this very package. */
function installed(name: string): string {
  // From dist/ and from src/archive/ the way is not the same.
  const candidates = [`../bin/${name}`, `../../bin/${name}`].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const bin = candidates.find((path) => existsSync(path));
  if (bin !== undefined) return bin;
  throw new ArchiveError('USAGE', `the command ${name} is not where it is installed`, {
    hint: 'Give openArchive the "command" that runs pgark, and leave out agent.script.',
  });
}
