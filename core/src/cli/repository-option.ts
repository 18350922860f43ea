/** The option `--repository` of the commands that read. */
import { Option } from 'commander';

export function repositoryOption(meaning = 'read from this one only; repeatable'): Option {
  return new Option('--repository <name>', meaning)
    .argParser((name: string, before: readonly string[]) => [...before, name])
    .default([], 'all of the config');
}
