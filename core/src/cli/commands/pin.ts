import type { Command } from 'commander';
import type { PinCall } from '../../archive/pin.ts';
import { ArchiveError } from '../../contracts/errors.ts';
import { formatTime } from '../../documents/format.ts';
import { examples } from '../help.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface PinFlags {
  readonly reason?: string;
  readonly until?: string;
  readonly remove?: boolean;
  readonly repository: readonly string[];
}

export function register(program: Command): void {
  const pin = program
    .command('pin')
    .description('keep a backup whatever the retention policy says, in every repository that has it')
    .argument('<id>', 'of the backup, or "latest"')
    .option('--reason <text>', 'why; it is shown with the backup')
    .option('--until <time>', '"2027-01-31 12:00+01", or a duration from now such as 90d (default: for ever)')
    .option('--remove', 'take the pin away')
    .addOption(repositoryOption('in this one only; repeatable'))
    .action(async (id: string, flags: PinFlags, command: Command) =>
      runCommand(command, (context) => run(id, flags, context)),
    );
  examples(pin, [
    ['pgark pin latest --reason "before the upgrade" --until 90d', 'for ninety days'],
    ['pgark pin 20261121T064530Z-3f9a --remove', 'the policy decides again'],
  ]);
}

async function run(id: string, flags: PinFlags, { output, archive }: CommandContext): Promise<void> {
  const call = await callOf(flags);
  const opened = await archive();
  const repositories = flags.repository;
  const done = await (call === undefined
    ? opened.unpin(id, { repositories })
    : opened.pin(id, { ...call, repositories }));
  if (output.isJson) output.json({ id: done.id, repositories: done.repositories, ...documentOf(call) });
  else if (done.repositories.length > 0)
    output.line(
      `${call === undefined ? 'not pinned any more' : `pinned ${untilText(call)}`}: ${done.id} in ${done.repositories.join(', ')}`,
    );
  if (done.failure !== undefined) throw done.failure;
}

/** Undefined to take the pin away. */
async function callOf({ reason, until, remove }: PinFlags): Promise<PinCall | undefined> {
  if (remove === true) {
    if (reason !== undefined || until !== undefined)
      throw new ArchiveError('USAGE', '--remove takes neither --reason nor --until', { hint: 'Leave them out.' });
    return undefined;
  }
  if (reason === undefined)
    throw new ArchiveError('USAGE', 'no reason was given', {
      hint: 'Say with --reason why the backup is kept: somebody will want to know.',
    });
  return { reason, ...(until === undefined ? {} : { until: new Date(await endOf(until)) }) };
}

/** Epoch milliseconds. Errors: `USAGE`. */
async function endOf(text: string): Promise<number> {
  const { DURATION, parseDuration } = await import('../../config/units.ts');
  const { parseMoment } = await import('../../restore/time-text.ts');
  const time = DURATION.test(text) ? Date.now() + parseDuration(text) : Number(parseMoment(text) / 1000n);
  if (time > Date.now()) return time;
  throw new ArchiveError('USAGE', `${text} has passed`, { hint: 'Take a pin away with --remove.' });
}

function untilText({ until }: PinCall): string {
  return until === undefined ? 'for ever' : `until ${formatTime(until.getTime())}`;
}

function documentOf(call: PinCall | undefined): Readonly<Record<string, unknown>> {
  if (call === undefined) return { pinned: false };
  const { reason, until } = call;
  return { pinned: true, reason, ...(until === undefined ? {} : { until: until.toISOString() }) };
}
