import { Option, type Command } from 'commander';
import type { ArchiveError } from '../../contracts/errors.ts';
import { lockingText } from '../backup-progress.ts';
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
  const failure = await (flags.confirm === true ? remove(flags, context) : plan(flags, context));
  if (failure !== undefined) throw failure;
}

async function plan(flags: ExpireFlags, { output, archive }: CommandContext): Promise<ArchiveError | undefined> {
  const { printExpirePlan } = await import('../retention-view.ts');
  const { expireDocument } = await import('../../documents/expire-document.ts');
  const opened = await archive();
  const { plans, failures, failure } = await opened.planExpire({
    repositories: flags.repository,
    remove: flags.remove,
  });
  if (output.isJson) output.json(plans.map((one) => expireDocument(one)));
  else {
    for (const one of plans) printExpirePlan(output, one, { named: plans.length + failures.length > 1 });
    output.line('nothing was removed: this was the plan; --confirm carries it out');
  }
  return failure;
}

async function remove(flags: ExpireFlags, { output, archive }: CommandContext): Promise<ArchiveError | undefined> {
  const { printExpirePlan, printExpireResult } = await import('../retention-view.ts');
  const { expireDocument } = await import('../../documents/expire-document.ts');
  const opened = await archive();
  const { results, failure } = await opened.expire({
    repositories: flags.repository,
    remove: flags.remove,
    onPlan: (made, among) => {
      if (!output.isJson) printExpirePlan(output, made, { named: among > 1 });
    },
    onProgress: (progress) =>
      output.progress(() =>
        progress.stage === 'locking' ? lockingText(progress) : `expire: ${progress.objects} objects removed`,
      ),
    onResult: (result) => {
      output.progressDone();
      if (!output.isJson) printExpireResult(output, result);
    },
  });
  output.progressDone();
  if (output.isJson) output.json(results.map((result) => expireDocument(result.plan, result)));
  return failure;
}
