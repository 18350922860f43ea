/** The option `--repository` of the commands that read. */
import { Option } from 'commander';
import { ArchiveError } from '../contracts/errors.ts';
import type { Repository } from '../repository/repository.ts';

export function repositoryOption(): Option {
  return new Option('--repository <name>', 'read from this one only; repeatable')
    .argParser((name: string, before: readonly string[]) => [...before, name])
    .default([], 'all of the config');
}

/** The repositories of these names, in the order of the config; all without a name. Errors: `USAGE` for an unknown name. */
export function chooseRepositories(
  repositories: readonly [Repository, ...Repository[]],
  names: readonly string[],
): readonly [Repository, ...Repository[]] {
  for (const name of names) {
    if (repositories.some((repository) => repository.name === name)) continue;
    throw new ArchiveError('USAGE', `the config has no repository "${name}"`, {
      hint: `It has: ${repositories.map((repository) => repository.name).join(', ')}.`,
    });
  }
  const [first, ...more] = repositories.filter(({ name }) => names.includes(name));
  return first === undefined ? repositories : [first, ...more];
}
