import { Option, type Command } from 'commander';
import type { CopyCall } from '../../archive/copy.ts';
import { ArchiveError } from '../../contracts/errors.ts';
import type { CopyWal } from '../../copy/plan.ts';
import { asOfOption } from '../as-of-option.ts';
import { examples } from '../help.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface CopyFlags {
  readonly from?: string;
  readonly to?: string;
  readonly backup: readonly string[];
  readonly all?: boolean;
  readonly wal: CopyWal;
  readonly asOf?: Date;
  readonly plan?: boolean;
}

const several = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function register(program: Command): void {
  const copy = program
    .command('copy')
    .description(
      'carry backups and their WAL from one repository of the config into another; goes on where it was interrupted',
    )
    .option('--from <name>', 'repository that has them (default: the other one, when the config names two)')
    .option('--to <name>', 'repository that gets them (default: the other one, when the config names two)')
    .addOption(
      new Option('--backup <id>', 'only this backup, or latest; repeatable').argParser(several).default([], 'all'),
    )
    .option('--all', 'all complete backups that the other repository lacks: what is done without --backup')
    .addOption(
      new Option(
        '--wal <which>',
        'needed: what makes the backups consistent; following: beside it all up to the end of the archive; none',
      )
        .choices(['needed', 'following', 'none'])
        .default('following'),
    )
    .addOption(asOfOption())
    .option('--plan', 'print what would be copied, and end')
    .action(async (flags: CopyFlags, command: Command) => runCommand(command, (context) => run(flags, context)));
  examples(copy, [
    ['pgark copy --from primary --to offsite', 'all that offsite lacks: after an outage, or when it is new'],
    ['pgark copy --from primary --to offsite --plan', 'only see what that would be'],
    [
      'pgark copy --from primary --to clean --as-of "2 days ago"',
      'what there was before an attack, into a new repository',
    ],
    ['pgark copy --to offsite --backup latest --wal needed', 'one backup to keep, and not the time after it'],
  ]);
}

async function run(flags: CopyFlags, { output, config, archive }: CommandContext): Promise<void> {
  if (flags.all === true && flags.backup.length > 0)
    throw new ArchiveError('USAGE', '--all and --backup were both given', { hint: 'Leave one of them out.' });
  const { CopyProgressText, printPlan, printResult } = await import('../copy-view.ts');
  const { source, target } = chooseSides(config.repositories, flags);
  const text = new CopyProgressText({ bar: output.isTerminal });
  output.progress(() => text.toString());
  const call: CopyCall = {
    from: source.name,
    to: target.name,
    backups: flags.backup.length === 0 ? 'all' : flags.backup,
    wal: flags.wal,
    ...(flags.asOf === undefined ? {} : { asOf: flags.asOf }),
    onProgress: (progress) => {
      text.update(progress);
      output.progress(() => text.toString());
    },
  };
  const opened = await archive();
  if (flags.plan === true) {
    const { plan, failure } = await opened.planCopy(call);
    output.progressDone();
    printPlan(output, plan);
    if (failure !== undefined) throw failure;
    return;
  }
  const done = await opened.copy({ ...call, onPlan: () => output.progressDone() });
  output.progressDone();
  printResult(output, done.plan, done, done.milliseconds);
  if (done.failure !== undefined) throw done.failure;
}

/** Which repositories are meant. The direction is never guessed: one of them has to be named. Errors: `USAGE`. */
export function chooseSides<Named extends { readonly name: string }>(
  repositories: readonly Named[],
  { from, to }: { readonly from?: string | undefined; readonly to?: string | undefined },
): { readonly source: Named; readonly target: Named } {
  const names = repositories.map(({ name }) => name).join(', ');
  const [one] = repositories;
  if (one === undefined || repositories.length < 2)
    throw new ArchiveError('USAGE', `the config names one repository only: ${names}`, {
      hint: 'Add the other one to "repositories" in the config.',
    });
  const named = (option: string, name: string | undefined): Named | undefined => {
    const found = repositories.find((repository) => repository.name === name);
    if (name === undefined || found !== undefined) return found;
    throw new ArchiveError('USAGE', `there is no repository "${name}", as ${option} says`, {
      hint: `The repositories of the config are: ${names}.`,
    });
  };
  const given = { source: named('--from', from), target: named('--to', to) };
  const rest = repositories.filter((repository) => repository !== given.source && repository !== given.target);
  const other = repositories.length === 2 && rest.length === 1 ? rest[0] : undefined;
  const source = given.source ?? other;
  const target = given.target ?? other;
  if (source === undefined || target === undefined) {
    const missing = given.source === undefined ? (given.target === undefined ? '--from and --to' : '--from') : '--to';
    throw new ArchiveError('USAGE', `it was not said which repository to copy: ${missing}`, {
      hint: `Name them with --from and --to; there are: ${names}.`,
    });
  }
  if (source === target)
    throw new ArchiveError('USAGE', `--from and --to are one repository: ${source.name}`, {
      hint: `Name two of: ${names}.`,
    });
  return { source, target };
}
