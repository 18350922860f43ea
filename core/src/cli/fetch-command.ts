/** What a `restore_command` runs. */
import type { CommandContext } from './run.ts';

/** Program and arguments that fetch WAL from these repositories, from all of the config when none is named; as they were at a moment. */
export async function fetchCommandOf(
  { loaded, config }: CommandContext,
  repositories: readonly string[],
  asOf?: Date,
): Promise<readonly string[]> {
  const { ownCommand } = await import('./own-command.ts');
  const file = loaded.path === undefined ? [] : ['--config', loaded.path];
  const names = repositories.flatMap((name) => ['--repository', name]);
  const past = asOf === undefined ? [] : ['--as-of', asOf.toISOString()];
  return [...ownCommand(), ...file, '--cluster', config.cluster, 'wal-fetch', ...names, ...past];
}
