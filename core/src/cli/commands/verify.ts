import { Option, type Command } from 'commander';
import { parseSize } from '../../config/units.ts';
import { ArchiveError } from '../../contracts/errors.ts';
import type { VerifyLevel } from '../../verify/finding.ts';
import { examples } from '../help.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, type CommandContext } from '../run.ts';

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

async function run(ids: readonly string[], flags: VerifyFlags, { output, archive }: CommandContext): Promise<void> {
  const { repository: repositories, resume } = flags;
  const rate = flags.rate === undefined ? undefined : rateOf(flags.rate);
  const seed = flags.seed === undefined ? undefined : seedOf(flags.seed);
  const { printVerifications, verifyJson, VerifyProgressText } = await import('../verify-view.ts');
  const text = new VerifyProgressText({ bar: output.isTerminal });
  const opened = await archive();
  const done = await opened.verify({
    repositories,
    level: flags.full === true ? 'full' : flags.level,
    backups: ids.length > 0 ? ids : flags.wal === true ? [] : 'all',
    wal: flags.wal === true || ids.length === 0,
    heal: flags.heal === true,
    ...(rate === undefined ? {} : { rate }),
    ...(seed === undefined ? {} : { seed }),
    ...(resume === undefined ? {} : { resume }),
    onResume: () => output.note(`what ${resume ?? ''} says was found good is not read again`),
    onProgress: (progress) => {
      text.update(progress);
      output.progress(() => text.toString());
    },
  });
  output.progressDone();
  if (output.isJson) output.json(verifyJson(done.repositories));
  else printVerifications(output, done.repositories);
  if (done.failure !== undefined) throw done.failure;
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
