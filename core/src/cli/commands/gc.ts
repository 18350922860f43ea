import type { Command } from 'commander';
import type { RepositoryFailure } from '../../repository/repository-failure.ts';
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

async function run(flags: GarbageFlags, context: CommandContext): Promise<void> {
  const { config, output, logger, signal, archive } = context;
  const [
    { planGarbage, runGarbage },
    { garbageDocument, printGarbage },
    { repositoryFailure },
    backups,
    { parseDuration },
  ] = await Promise.all([
    import('../../retention/gc.ts'),
    import('../retention-view.ts'),
    import('../../repository/repository-failure.ts'),
    import('../backups.ts'),
    import('../../config/units.ts'),
  ]);
  const options = { signal, ...(flags.grace === undefined ? {} : { grace: parseDuration(flags.grace) }) };
  const opened = await archive({ ...backups.showingOptions(config), repositories: flags.repository });
  const repositories = flags.confirm === true ? opened.writable : opened.repositories;
  const failures: RepositoryFailure[] = [];
  const documents: unknown[] = [];
  for (const repository of repositories) {
    try {
      const result =
        flags.confirm === true
          ? await runGarbage(repository, {
              ...options,
              onProgress: ({ objects }) => output.progress(() => `gc: ${objects} objects removed`),
              onFailure: (error) =>
                logger.warn({ error }, 'the lease of the run could not be renewed, it is tried again'),
            })
          : { found: await planGarbage(repository, options) };
      output.progressDone();
      if (flags.confirm === true) {
        const { forgetListing } = await import('../map-options.ts');
        await forgetListing(context, repository);
      }
      if (output.isJson) documents.push(garbageDocument(repository.name, result));
      else printGarbage(output, repository.name, result, { named: repositories.length > 1 });
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(repositoryFailure(repository.name, error));
    }
  }
  if (output.isJson) output.json(documents);
  else if (flags.confirm !== true) output.line('nothing was removed: this was the plan; --confirm carries it out');
  backups.throwFailures(failures);
}
