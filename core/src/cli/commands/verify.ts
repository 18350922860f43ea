import { Option, type Command } from 'commander';
import { parseSize } from '../../config/units.ts';
import { ArchiveError, isArchiveError } from '../../contracts/errors.ts';
import type { Repository } from '../../repository/repository.ts';
import type { VerifyLevel } from '../../verify/finding.ts';
import type { VerifyOptions } from '../../verify/verify.ts';
import { examples } from '../help.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, toArchiveError, type CommandContext } from '../run.ts';
import type { ShownVerification } from '../verify-view.ts';

interface VerifyFlags {
  readonly level: VerifyLevel;
  readonly full?: boolean;
  readonly wal?: boolean;
  readonly rate?: string;
  readonly seed?: string;
  readonly resume?: string;
  readonly heal?: boolean;
  readonly repository: readonly string[];
}

export function register(program: Command): void {
  const verify = program
    .command('verify')
    .description('look whether the archive holds what was stored, and say what cannot be restored where it does not')
    .argument('[backup...]', 'ids, or "latest", each with the WAL that it needs (default: all backups, and all WAL)')
    .addOption(
      new Option(
        '--level <level>',
        'chain: names, sizes, records and histories; sample: beside it some objects are read; full: all are',
      )
        .choices(['chain', 'sample', 'full'])
        .default('sample'),
    )
    .option('--full', 'the same as --level full')
    .option('--wal', 'all of the WAL; without a backup, nothing else')
    .option('--rate <size>', 'bytes a second that are read of each repository, such as 20MiB')
    .option('--seed <number>', 'draw the sample that an earlier run with this seed has drawn')
    .option('--resume <file>', 'keep in this file what was found good, and go on from there; it is removed at the end')
    .option('--heal', 'put good copies from other repositories in the place of what is missing or damaged')
    .addOption(repositoryOption())
    .action(async (ids: readonly string[], flags: VerifyFlags, command: Command) =>
      runCommand(command, (context) => run(ids, flags, context)),
    );
  examples(verify, [
    ['pgark verify', 'every night: the chains, and a sample that is another one each time'],
    ['pgark verify --full --rate 20MiB --resume /var/tmp/verify.state', 'all of it, over a weekend'],
    ['pgark verify latest --full', 'one backup and the WAL that makes it consistent'],
    ['pgark verify --full --heal', 'with several repositories: mend one from another'],
  ]);
}

async function run(ids: readonly string[], flags: VerifyFlags, context: CommandContext): Promise<void> {
  const { output, logger, signal } = context;
  const level: VerifyLevel = flags.full === true ? 'full' : flags.level;
  const maxDownloadRate = flags.rate === undefined ? undefined : rateOf(flags.rate);
  const [{ newSeed }, { FileJournal }, { failureOf, printVerifications, verifyJson, VerifyProgressText }] =
    await Promise.all([
      import('../../verify/verify.ts'),
      import('../../verify/journal.ts'),
      import('../verify-view.ts'),
    ]);
  // A good copy may be in any repository of the config.
  const names = flags.repository;
  const archive = await context.archive({
    repositories: flags.heal === true ? [] : names,
    ...(maxDownloadRate === undefined ? {} : { maxDownloadRate }),
  });
  const all = archive.repositories;
  const repositories = names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
  const begun = {
    level,
    seed: flags.seed === undefined ? newSeed() : seedOf(flags.seed),
    repositories: repositories.map(({ name }) => name),
  };
  const journal = flags.resume === undefined ? undefined : new FileJournal(flags.resume, begun);
  if (journal?.isResumed === true) output.note(`what ${flags.resume} says was found good is not read again`);
  const text = new VerifyProgressText({ bar: output.isTerminal });
  const options: Omit<VerifyOptions, 'repository'> = {
    level,
    signal,
    concurrency: context.config.restore.concurrency,
    seed: journal?.seed ?? begun.seed,
    backups: ids.length > 0 ? ids : flags.wal === true ? [] : 'all',
    wal: flags.wal === true || ids.length === 0,
    ...(journal === undefined ? {} : { journal }),
    onProgress: (progress) => {
      text.update(progress);
      output.progress(() => text.toString());
    },
  };
  const each: ShownVerification[] = [];
  for (const repository of repositories) {
    const others = all.filter((other) => other !== repository);
    each.push(await verifyOne(repository, { ...options, others, heal: flags.heal === true }, context));
    if (signal.aborted) break;
  }
  output.progressDone();
  const shown = withoutStrangers(each);
  if (output.isJson) output.json(verifyJson(shown));
  else printVerifications(output, shown);
  for (const one of shown)
    if ('result' in one && one.unrecorded !== undefined)
      logger.warn(
        { repository: one.repository },
        `the result is not on record in repository ${one.repository}: ${one.unrecorded.message}`,
      );
  const failure = failureOf(shown, { wantsBackups: options.backups === 'all' });
  if (failure === undefined || failure.code === 'VERIFY_DAMAGED') journal?.remove();
  if (failure !== undefined) throw failure;
}

/** A backup that one repository has need not be in the others. */
function withoutStrangers(shown: readonly ShownVerification[]): readonly ShownVerification[] {
  const found = shown.filter((one) => !('error' in one && one.error.code === 'BACKUP_NOT_FOUND'));
  return found.length === 0 ? shown : found;
}

interface OneOptions extends Omit<VerifyOptions, 'repository'> {
  readonly others: readonly Repository[];
  readonly heal: boolean;
}

/** Verifies one repository, heals it when that is wanted, and puts the result on record. */
async function verifyOne(
  repository: Repository,
  { others, heal, ...options }: OneOptions,
  { config, signal }: CommandContext,
): Promise<ShownVerification> {
  const [{ verify }, { recordResults }, healing] = await Promise.all([
    import('../../verify/verify.ts'),
    import('../../verify/fact.ts'),
    import('../../verify/heal.ts'),
  ]);
  const { name } = repository;
  try {
    const elsewhere = await completeIn(others, signal);
    const result = await verify({ ...options, repository, elsewhere });
    const concurrency = config.restore.concurrency;
    const healed =
      heal && !signal.aborted ? await healing.heal(result, { repository, others, concurrency, signal }) : [];
    const isReadOnly = config.repositories.some((section) => section.name === name && section.readOnly);
    if (signal.aborted) return { repository: name, result, healed, unrecorded: undefined };
    const unrecorded = isReadOnly
      ? new ArchiveError('STORAGE_DENIED', 'the config says that it is only read')
      : await recordResults(repository, result, { signal });
    return { repository: name, result, healed, unrecorded };
  } catch (error) {
    const known = toArchiveError(error);
    if (known.code === 'ABORTED' || known.code === 'USAGE' || known.code === 'INTERNAL') throw error;
    return { repository: name, error: known };
  }
}

/** Ids of backups that some of these repositories have complete; what cannot be asked is left out. */
async function completeIn(repositories: readonly Repository[], signal: AbortSignal): Promise<ReadonlySet<string>> {
  const ids = new Set<string>();
  for (const repository of repositories) {
    try {
      for (const systemId of await repository.systemIds({ signal }))
        for (const { id, state } of await repository.backups(systemId).list({ signal }))
          if (state === 'complete') ids.add(id);
    } catch (error) {
      if (isArchiveError(error, 'ABORTED')) throw error; // all else is told where it is verified itself
    }
  }
  return ids;
}

const LEAST_RATE = 32 * 1024;

function rateOf(text: string): number {
  let rate: number;
  try {
    rate = parseSize(text);
  } catch {
    rate = Number.NaN;
  }
  if (rate >= LEAST_RATE) return rate;
  throw new ArchiveError('USAGE', `not a rate: "${text}"`, {
    hint: 'Give a size of at least 32KiB, such as 20MiB: bytes a second.',
  });
}

function seedOf(text: string): number {
  if (/^[0-9]{1,15}$/.test(text)) return Number(text);
  throw new ArchiveError('USAGE', `not a seed: "${text}"`, {
    hint: 'Give the number that an earlier run has printed.',
  });
}
