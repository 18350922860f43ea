/** The option `--repository` of the commands that read. */
import { Option } from 'commander';

export function repositoryOption(): Option {
  return new Option('--repository <name>', 'read from this one only; repeatable')
    .argParser((name: string, before: readonly string[]) => [...before, name])
    .default([], 'all of the config');
}
