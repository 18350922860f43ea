import { Option, type Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import type { ExpirePlan } from '../../retention/expire.ts';
import type { RepositoryFailure } from '../../repository/repository-failure.ts';
import type { Repository } from '../../repository/repository.ts';
import { examples } from '../help.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface ExpireFlags {
  readonly confirm?: boolean;
  readonly repository: readonly string[];
  readonly remove: readonly string[];
}

const several = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function register(program: Command): void {
  const expire = program
    .command('expire')
    .description(
      'say which backups and WAL the retention policy keeps and removes, each with its reason; removes with --confirm',
    )
    .option('--confirm', 'remove what the plan says; without it nothing is changed')
    .addOption(
      new Option(
        '--remove <id>',
        'a backup, or all of a system identifier, that goes whatever the policy says; repeatable',
      )
        .argParser(several)
        .default([], 'none'),
    )
    .addOption(repositoryOption('this one only; repeatable'))
    .action(async (flags: ExpireFlags, command: Command) => runCommand(command, (context) => run(flags, context)));
  examples(expire, [
    ['pgark expire', 'see what would stay and what would go, and why'],
    ['pgark expire --confirm', 'remove it'],
    ['pgark expire --remove 20261121T064530Z-3f9a', 'the same, without this backup'],
  ]);
}

async function run(flags: ExpireFlags, context: CommandContext): Promise<void> {
  const { config, output, logger, signal, archive } = context;
  const [
    { planExpire, runExpire },
    { printExpirePlan, printExpireResult, expireDocument },
    { repositoryFailure },
    backups,
  ] = await Promise.all([
    import('../../retention/expire.ts'),
    import('../retention-view.ts'),
    import('../../repository/repository-failure.ts'),
    import('../backups.ts'),
  ]);
  const opened = await archive({ ...backups.showingOptions(config), repositories: flags.repository });
  const { events } = opened;
  const repositories = flags.confirm === true ? opened.writable : opened.repositories;
  const named = repositories.length > 1;
  const options = { policy: config.retention, remove: flags.remove, signal };
  const failures: RepositoryFailure[] = [];
  const documents: unknown[] = [];
  const known = new Set<string>();
  const confirmed = async (repository: Repository): Promise<ExpirePlan> => {
    const { name } = repository;
    const result = await runExpire(repository, {
      ...options,
      onPlan: async (plan) => {
        if (!output.isJson) printExpirePlan(output, plan, { named });
        const going = [...plan.backups, ...plan.wal].filter(({ action }) => action === 'remove');
        const ids = plan.backups.flatMap(({ id, action }) => (action === 'remove' ? [id] : []));
        const bytes = going.reduce((sum, one) => sum + one.bytes, 0);
        await events.emit('expire.planned', { repository: name, backups: ids, bytes });
      },
      onProgress: ({ objects }) => output.progress(() => `expire: ${objects} objects removed`),
      onFailure: (error) => logger.warn({ error }, 'the lease of the run could not be renewed, it is tried again'),
    });
    output.progressDone();
    if (output.isJson) documents.push(expireDocument(result.plan, result));
    else printExpireResult(output, result);
    const { objects, bytes, removed, locked } = result;
    await events.emit('expire.finished', { repository: name, backups: removed, locked, objects, bytes });
    return result.plan;
  };
  const planned = async (repository: Repository): Promise<ExpirePlan> => {
    const plan = await planExpire(repository, options);
    if (output.isJson) documents.push(expireDocument(plan));
    else printExpirePlan(output, plan, { named });
    return plan;
  };
  // One that fails does not keep the others from it.
  for (const repository of repositories) {
    try {
      const plan = await (flags.confirm === true ? confirmed(repository) : planned(repository));
      for (const { id, systemId } of [...plan.backups, ...plan.wal.map(({ systemId }) => ({ id: systemId, systemId }))])
        known.add(id).add(systemId);
      for (const note of plan.notes) logger.warn({ repository: repository.name }, note);
      const unreadable = plan.backups.find(({ state, action }) => state === 'unreadable' && action === 'keep');
      if (flags.confirm === true) {
        const { forgetListing } = await import('../map-options.ts');
        await forgetListing(context, repository);
        const { extendLocksOf } = await import('../extend-locks.ts');
        for (const systemId of new Set(plan.backups.map((backup) => backup.systemId))) {
          const unlocked = await extendLocksOf([repository], { systemId, logger, signal, output });
          if (unlocked !== undefined) throw unlocked;
        }
      }
      if (unreadable !== undefined) throw holdsAll(unreadable.id);
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(repositoryFailure(repository.name, error));
    }
  }
  if (output.isJson) output.json(documents);
  else if (flags.confirm !== true) output.line('nothing was removed: this was the plan; --confirm carries it out');
  backups.throwFailures(failures);
  const unknown = flags.remove.find((id) => !known.has(id));
  if (unknown !== undefined)
    throw new ArchiveError('BACKUP_NOT_FOUND', `there is no backup and no system ${unknown}, as --remove says`);
}

function holdsAll(id: string): ArchiveError {
  return new ArchiveError('REPOSITORY_FORMAT', `backup ${id} cannot be read: it stays, with what it may need`, {
    hint: `Look at it with "pgark show ${id}". To give it up, name it with --remove.`,
  });
}
