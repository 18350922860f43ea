import type { Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import type { PinChange } from '../../retention/pin.ts';
import type { RepositoryFailure } from '../../repository/repository-failure.ts';
import { formatTime } from '../format.ts';
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

async function run(id: string, flags: PinFlags, { config, output, signal, archive }: CommandContext): Promise<void> {
  const change = await changeOf(flags);
  const [{ changePin }, { repositoryFailure }, { chooseBackup, findBackups, showingOptions, throwFailures }] =
    await Promise.all([
      import('../../retention/pin.ts'),
      import('../../repository/repository-failure.ts'),
      import('../backups.ts'),
    ]);
  const opened = await archive({ ...showingOptions(config), repositories: flags.repository });
  const found = await findBackups(opened.repositories, { signal });
  const chosen = chooseBackup(found, id);
  const failures: RepositoryFailure[] = [...found.failures];
  const names: string[] = [];
  for (const { repository, systemId, state } of found.backups.filter((backup) => backup.id === chosen.id)) {
    if (state === 'incomplete') continue;
    try {
      await changePin(repository, { systemId, id: chosen.id }, change, { signal });
      names.push(repository.name);
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(repositoryFailure(repository.name, error));
    }
  }
  if (names.length === 0 && failures.length === 0)
    throw new ArchiveError('BACKUP_NOT_FOUND', `backup ${chosen.id} is not complete`);
  if (output.isJson) output.json({ id: chosen.id, repositories: names, ...documentOf(change) });
  else if (names.length > 0)
    output.line(
      `${change.kind === 'pin' ? `pinned ${untilText(change)}` : 'not pinned any more'}: ${chosen.id} in ${names.join(', ')}`,
    );
  throwFailures(failures);
}

async function changeOf({ reason, until, remove }: PinFlags): Promise<PinChange> {
  if (remove === true) {
    if (reason !== undefined || until !== undefined)
      throw new ArchiveError('USAGE', '--remove takes neither --reason nor --until', { hint: 'Leave them out.' });
    return { kind: 'unpin' };
  }
  if (reason === undefined)
    throw new ArchiveError('USAGE', 'no reason was given', {
      hint: 'Say with --reason why the backup is kept: somebody will want to know.',
    });
  if (until === undefined) return { kind: 'pin', reason };
  return { kind: 'pin', reason, until: await endOf(until) };
}

/** Epoch milliseconds. Errors: `USAGE`. */
async function endOf(text: string): Promise<number> {
  const { DURATION, parseDuration } = await import('../../config/units.ts');
  const { parseMoment } = await import('../../restore/time-text.ts');
  const time = DURATION.test(text) ? Date.now() + parseDuration(text) : Number(parseMoment(text) / 1000n);
  if (time > Date.now()) return time;
  throw new ArchiveError('USAGE', `${text} has passed`, { hint: 'Take a pin away with --remove.' });
}

function untilText({ until }: Extract<PinChange, { readonly kind: 'pin' }>): string {
  return until === undefined ? 'for ever' : `until ${formatTime(until)}`;
}

function documentOf(change: PinChange): Readonly<Record<string, unknown>> {
  if (change.kind === 'unpin') return { pinned: false };
  const { reason, until } = change;
  return { pinned: true, reason, ...(until === undefined ? {} : { until: new Date(until).toISOString() }) };
}
