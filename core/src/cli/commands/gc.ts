import type { Command } from 'commander';
import type { GarbageRunCall } from '../../archive/garbage.ts';
import { examples } from '../help.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface GarbageFlags {
  readonly confirm?: boolean;
  readonly grace?: string;
  readonly repository: readonly string[];
}

export function register(program: Command): void {
  const gc = program
    .command('gc')
    .description('find what no backup, WAL or running command accounts for: parts of interrupted backups and the like')
    .option('--confirm', 'remove what was found; without it nothing is changed')
    .option('--grace <duration>', 'nothing younger is touched (default: 7d)')
    .addOption(repositoryOption('this one only; repeatable'))
    .action(async (flags: GarbageFlags, command: Command) => runCommand(command, (context) => run(flags, context)));
  examples(gc, [
    ['pgark gc', 'see what would be removed, and why'],
    ['pgark gc --confirm --grace 2d', 'remove what was left more than two days ago'],
  ]);
}

async function run(flags: GarbageFlags, { output, archive }: CommandContext): Promise<void> {
  const [{ garbageDocument, printGarbage }, { parseDuration }] = await Promise.all([
    import('../retention-view.ts'),
    import('../../config/units.ts'),
  ]);
  const call: GarbageRunCall = {
    repositories: flags.repository,
    ...(flags.grace === undefined ? {} : { grace: parseDuration(flags.grace) }),
    onProgress: ({ objects }) => output.progress(() => `gc: ${objects} objects removed`),
    // At once: what is removed is told, whatever becomes of the next repository.
    onResult: (one, among) => {
      output.progressDone();
      if (!output.isJson) printGarbage(output, one.repository, one, { named: among > 1 });
    },
  };
  const opened = await archive();
  const { repositories, failures, failure } = await (flags.confirm === true ? opened.gc(call) : opened.planGc(call));
  output.progressDone();
  const named = repositories.length + failures.length > 1;
  if (output.isJson) output.json(repositories.map((one) => garbageDocument(one.repository, one)));
  else if (flags.confirm !== true) {
    for (const one of repositories) printGarbage(output, one.repository, one, { named });
    output.line('nothing was removed: this was the plan; --confirm carries it out');
  }
  if (failure !== undefined) throw failure;
}
