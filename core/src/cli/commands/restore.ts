import { Option, type Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import type { SharedLease } from '../../repository/shared-lease.ts';
import type { PlanOptions } from '../../restore/plan.ts';
import type { RestorePlan } from '../../restore/plan-types.ts';
import type { Setting } from '../../restore/recovery-settings.ts';
import type { RestoreOptions, RestoreResult } from '../../restore/restore.ts';
import type { TargetAction } from '../../restore/target.ts';
import { asOfOption, pastOf } from '../as-of-option.ts';
import { count } from '../backup-view.ts';
import { fetchCommandOf } from '../fetch-command.ts';
import { repositoryOption } from '../repository-option.ts';
import { formatBytes, formatDuration } from '../format.ts';
import { examples } from '../help.ts';
import type { Output } from '../output.ts';
import { runCommand, type CommandContext } from '../run.ts';
import { addTargetOptions, targetOfFlags, type TargetFlags } from '../target-options.ts';

interface RestoreFlags extends TargetFlags {
  readonly targetAction: TargetAction;
  readonly standby?: boolean;
  readonly primaryConninfo?: string;
  readonly backup?: string;
  readonly systemId?: string;
  readonly repository: readonly string[];
  readonly asOf?: Date;
  readonly tablespace: readonly string[];
  readonly tablespaceOid: readonly string[];
  readonly owner?: string;
  readonly plan?: boolean;
  readonly concurrency?: string;
  readonly sync: boolean;
  readonly writeConfig: boolean;
  readonly tryCommand: boolean;
}

const several = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function register(program: Command): void {
  const restore = program
    .command('restore')
    .description('restore a data directory to any moment; prints the plan first')
    .argument('[directory]', 'the new data directory: absent, empty, or of an interrupted restore');
  addTargetOptions(restore)
    .addOption(
      new Option('--target-action <action>', 'what the server does at the target')
        .choices(['pause', 'promote', 'shutdown'])
        .default('promote'),
    )
    .option('--standby', 'make a standby that follows a primary')
    .option('--primary-conninfo <conninfo>', 'how the standby reaches its primary')
    .option('--backup <id>', 'begin from this backup (default: the newest that leads to the target)')
    .option('--system-id <number>', 'the cluster, if the archive holds several of its name')
    .addOption(repositoryOption())
    .addOption(asOfOption())
    .addOption(
      new Option('--tablespace <old=new>', 'put the tablespace at OLD to NEW; repeatable')
        .argParser(several)
        .default([], 'none'),
    )
    .addOption(
      new Option('--tablespace-oid <oid=new>', 'the same by the OID of the tablespace; repeatable')
        .argParser(several)
        .default([], 'none'),
    )
    .option(
      '--owner <user>',
      'as root: USER or USER:GROUP that gets the files (default: owner of the directory, or postgres)',
    )
    .option('--plan', 'print the plan and end; exit code 1 when the target cannot be reached')
    .option('--concurrency <number>', 'parts that are read at once (default: restore.concurrency)')
    .option('--no-sync', 'do not wait until the files are durable')
    .option('--no-write-config', 'write no postgresql.conf and pg_hba.conf if the backup has none')
    .option('--no-try-command', 'do not try out the restore_command as the user of the server')
    .action(async (directory: string | undefined, flags: RestoreFlags, command: Command) =>
      runCommand(command, (context) => run(directory, flags, context)),
    );
  examples(restore, [
    ['pgark restore /var/lib/postgresql/restored', 'everything the archive has'],
    ['pgark restore --target-time "5 minutes ago" /srv/before', 'the moment before a mistake'],
    ['pgark restore --target-time "2026-11-21 06:00:00+02" --plan', 'only see whether it can be reached'],
    ['pgark restore --as-of "2 days ago" /srv/restored', 'from what a storage with versions held before an attack'],
    ['pgark restore --standby --primary-conninfo "host=db1 user=replicator" /srv/standby', 'a new standby'],
  ]);
}

async function run(directory: string | undefined, flags: RestoreFlags, context: CommandContext): Promise<number> {
  const { config, logger, signal } = context;
  if (directory === undefined && flags.plan !== true)
    throw new ArchiveError('USAGE', 'no directory to restore into was given', {
      hint: 'Name the new data directory, or use --plan to see the plan only.',
    });
  const { warnOfDropped } = await import('../dropped-warning.ts');
  warnOfDropped(config, logger);
  const { SharedLease } = await import('../../repository/shared-lease.ts');
  const lease = new SharedLease({ command: 'restore', signal, onWarning: (warning) => logger.warn({}, warning) });
  try {
    return await planAndRestore(directory, flags, context, lease);
  } finally {
    await lease.release();
  }
}

async function planAndRestore(
  directory: string | undefined,
  flags: RestoreFlags,
  context: CommandContext,
  lease: SharedLease,
): Promise<number> {
  const { output, config, logger, signal } = context;
  const [{ planRestore }, { restore }, { recoverySettings }, { RestoreProgressText }, { planDocument, planLines }] =
    await Promise.all([
      import('../../restore/plan.ts'),
      import('../../restore/restore.ts'),
      import('../../restore/recovery-settings.ts'),
      import('../restore-progress.ts'),
      import('../restore-view.ts'),
    ]);
  const opened = await context.archive({ repositories: flags.repository, ...pastOf(flags) });
  if (flags.asOf !== undefined) logger.info({}, `the archive is read as it was at ${flags.asOf.toISOString()}`);
  const plan = await planRestore({
    ...(await planOptions(directory, flags)),
    repositories: opened.repositories,
    spool: config.receive.spool,
    signal,
    ...(flags.plan === true ? {} : { onSources: (sources) => lease.take(sources, { backups: 'all', wal: 'all' }) }),
    onProgress: (text) => output.progress(() => text),
  });
  output.progressDone();
  const { backup, systemId } = plan;
  await lease.narrow(systemId, { backups: [backup.id], wal: [{ timeline: backup.timeline, from: backup.startLsn }] });
  const { repositories } = plan.sources;
  // What was not named, or the plan leaves out, must not be asked in the recovery either: it could not answer.
  const used = repositories.length === config.repositories.length ? [] : repositories.map(({ name }) => name);
  const fetchCommand = await fetchCommandOf(context, used, flags.asOf);
  const options: RestoreOptions = {
    fetchCommand,
    signal,
    concurrency: flags.concurrency === undefined ? config.restore.concurrency : wholeNumber(flags.concurrency),
    sync: flags.sync,
    writeConfig: flags.writeConfig,
    tryCommand: flags.tryCommand,
    ...(flags.owner === undefined ? {} : { owner: flags.owner }),
    ...(flags.primaryConninfo === undefined ? {} : { primaryConninfo: flags.primaryConninfo }),
  };
  const { restoreCommand } = await import('../../restore/restore-command.ts');
  const settings = recoverySettings(plan, {
    restoreCommand: restoreCommand(plan, fetchCommand),
    primaryConninfo: flags.primaryConninfo,
  });
  for (const name of environmentKeys(context))
    logger.warn({ name }, 'the config takes a value from the environment, which the restored server must have too');
  if (flags.plan === true) {
    if (output.isJson) output.json(planDocument(plan, settings));
    else for (const line of planLines(plan, settings)) output.line(line);
    const [problem] = plan.problems;
    return problem === undefined ? 0 : new ArchiveError(problem.code, problem.message).exitCode;
  }
  if (!output.isJson) for (const line of planLines(plan, settings)) output.write(`${line}\n`);
  const begun = performance.now();
  const text = new RestoreProgressText({ bar: output.isTerminal });
  const told: Promise<void>[] = [];
  const result = await restore(plan, {
    ...options,
    onProgress: (progress) => {
      text.update(progress);
      output.progress(() => text.toString());
    },
    onWarning: (warning) => logger.warn({}, warning),
    onEvent: (name, data) => {
      const telling = opened.events.emit(name, data);
      telling.catch(() => undefined); // thrown below, when the cluster is complete
      told.push(telling);
    },
  });
  output.progressDone();
  const milliseconds = Math.round(performance.now() - begun);
  if (output.isJson) output.json({ ...resultDocument(result), milliseconds, plan: planDocument(plan, settings) });
  else printResult(output, plan, result, milliseconds);
  await Promise.all(told);
  return 0;
}

async function planOptions(
  directory: string | undefined,
  flags: RestoreFlags,
): Promise<Omit<PlanOptions, 'repositories'>> {
  const { parseTimeline } = await import('../../restore/target.ts');
  const target = await targetOfFlags(flags);
  const standby = flags.standby === true;
  if (standby && target.kind !== 'latest')
    throw new ArchiveError('USAGE', 'a standby has no recovery target', { hint: 'Leave out --standby or the target.' });
  if (!standby && flags.primaryConninfo !== undefined)
    throw new ArchiveError('USAGE', '--primary-conninfo is for a standby', { hint: 'Add --standby.' });
  if (target.kind === 'latest' && flags.targetAction !== 'promote')
    throw new ArchiveError('USAGE', `--target-action ${flags.targetAction} needs a target`, {
      hint: 'Without a target PostgreSQL promotes at the end of the WAL.',
    });
  return {
    target,
    timeline: parseTimeline(flags.targetTimeline),
    action: flags.targetAction,
    standby,
    tablespaces: new Map([...flags.tablespace, ...flags.tablespaceOid].map(mapping)),
    ...(directory === undefined ? {} : { directory }),
    ...(flags.backup === undefined ? {} : { backup: flags.backup }),
    ...(flags.systemId === undefined ? {} : { systemId: flags.systemId }),
  };
}

/** `OLD=NEW`; an equals sign in a path is written `\=`, as for pg_basebackup. */
function mapping(text: string): readonly [string, string] {
  const match = /^((?:[^=\\]|\\.)+)=((?:[^=\\]|\\.)+)$/.exec(text);
  if (match === null)
    throw new ArchiveError('USAGE', `not a mapping OLD=NEW: "${text}"`, {
      hint: 'Write an equals sign in a path as \\=.',
    });
  const plain = (part: string | undefined): string => (part ?? '').replaceAll('\\=', '=');
  return [plain(match[1]), plain(match[2])];
}

function wholeNumber(text: string): number {
  const number = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= 64) return number;
  throw new ArchiveError('USAGE', `not a number from 1 to 64: "${text}"`);
}

/** Variables that set keys of the config: the server that runs the command has another environment. */
function environmentKeys({ loaded }: CommandContext): readonly string[] {
  return loaded.settings.flatMap(({ origin }) => (origin.kind === 'env' ? [origin.name] : []));
}

function resultDocument(result: RestoreResult): Readonly<Record<string, unknown>> {
  const { settings, ...rest } = result;
  return { ...rest, settings: Object.fromEntries(settings satisfies readonly Setting[]) };
}

function printResult(output: Output, plan: RestorePlan, result: RestoreResult, milliseconds: number): void {
  const { directory, files, bytes, resumedBytes, notes } = result;
  const resumed = resumedBytes === 0 ? '' : `, ${formatBytes(resumedBytes)} of it was there already`;
  output.line(`restored ${directory} from backup ${result.backup}`);
  output.line(`  ${formatBytes(bytes)} in ${count(files, 'file')}, in ${formatDuration(milliseconds)}${resumed}`);
  for (const note of notes) output.line(`  note: ${note}`);
  const then = plan.standby ? 'it follows its primary' : `it replays the WAL up to the target, then: ${plan.action}`;
  output.line(`  start the server now: pg_ctl -D ${directory} start; ${then}`);
  output.line('  it does not archive until archive_mode is taken out of its postgresql.auto.conf');
}
