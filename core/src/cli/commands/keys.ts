import type { Command } from 'commander';
import { count } from '../../documents/format.ts';
import { examples } from '../help.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface KeysFlags {
  readonly repository: readonly string[];
  readonly all: boolean;
}

export function register(program: Command): void {
  const keys = program
    .command('keys')
    .description(
      'show for which keys the objects of the archive were written and which of them open here; fails when one does not',
    )
    .addOption(repositoryOption())
    .option(
      '--all',
      'look at every object, one small read each (default: some of the WAL, and of each backup the smallest, which stands for the others)',
      false,
    )
    .action(async (flags: KeysFlags, command: Command) => runCommand(command, (context) => run(flags, context)));
  examples(keys, [
    ['pgark keys', 'before a key is retired: is anything still written for it?'],
    ['pgark keys --all', 'before it is deleted for good; reads headers only: damage behind them shows in a restore'],
    ['pgark keys --repository far', 'one repository'],
    [
      'pgark keys --json',
      'repositories: state (readable, unreadable, write-only, unknown, empty, failed), writes, codecs, and keys with layers and what was looked at',
    ],
  ]);
}

async function run({ repository: repositories, all }: KeysFlags, { output, archive }: CommandContext): Promise<void> {
  const { keysJson, printKeys } = await import('../keys-view.ts');
  const opened = await archive();
  const looked = await opened.keys({
    repositories,
    all,
    onProgress: ({ objects }) => {
      if (all) output.progress(() => `looked at ${count(objects, 'object')}`);
    },
  });
  output.progressDone();
  if (output.isJson) output.json(keysJson(looked.repositories));
  else {
    for (const [at, one] of looked.repositories.entries()) {
      if (at > 0) output.line();
      printKeys(output, one, all);
    }
  }
  if (looked.failure !== undefined) throw looked.failure;
}
