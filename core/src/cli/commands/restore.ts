import { Option, type Command } from 'commander';
import type { PlanRestoreCall, RestoreCallProgress } from '../../archive/restore.ts';
import { ArchiveError } from '../../contracts/errors.ts';
import type { RestorePlan } from '../../restore/plan-types.ts';
import type { Setting } from '../../restore/recovery-settings.ts';
import type { RestoreResult } from '../../restore/restore.ts';
import type { TargetAction } from '../../restore/target.ts';
import { asOfOption } from '../as-of-option.ts';
import { count, formatBytes, formatDuration } from '../../documents/format.ts';
import { repositoryOption } from '../repository-option.ts';
import { examples } from '../help.ts';
import type { Output } from '../output.ts';
import { runCommand, type CommandContext } from '../run.ts';
import { addTargetOptions, parsedTarget, targetOfFlags, type TargetFlags } from '../target-options.ts';

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
  readonly allowNewTablespaces?: boolean;
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
      '--allow-new-tablespaces',
      'let the recovery write to folders of tablespaces that were created after the backup, whoever uses them',
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
  const { output, archive } = context;
  if (directory === undefined && flags.plan !== true)
    throw new ArchiveError('USAGE', 'no directory to restore into was given', {
      hint: 'Name the new data directory, or use --plan to see the plan only.',
    });
  const [{ planDocument }, { planLines }, { RestoreProgressText }] = await Promise.all([
    import('../../documents/plan-document.ts'),
    import('../../documents/plan-text.ts'),
    import('../restore-progress.ts'),
  ]);
  const call = await planCall(flags);
  const opened = await archive();
  if (directory === undefined || flags.plan === true) {
    const onProgress = (progress: RestoreCallProgress): void =>
      output.progress(() => (progress.stage === 'planning' ? progress.text : ''));
    const place = directory === undefined ? {} : { directory };
    const { plan, settings, failure } = await opened.planRestore({ ...call, ...place, onProgress });
    output.progressDone();
    if (output.isJson) output.json(planDocument(plan, settings));
    else for (const line of planLines(plan, settings)) output.line(line);
    return failure?.exitCode ?? 0;
  }
  const text = new RestoreProgressText({ bar: output.isTerminal });
  const done = await opened.restore({
    ...call,
    directory,
    ...(flags.concurrency === undefined ? {} : { concurrency: wholeNumber(flags.concurrency) }),
    ...(flags.owner === undefined ? {} : { owner: flags.owner }),
    sync: flags.sync,
    writeConfig: flags.writeConfig,
    tryCommand: flags.tryCommand,
    onPlan: ({ plan, settings }) => {
      output.progressDone();
      if (!output.isJson) for (const line of planLines(plan, settings)) output.write(`${line}\n`);
    },
    onProgress: (progress) => {
      if (progress.stage === 'planning') return output.progress(() => progress.text);
      text.update(progress);
      output.progress(() => text.toString());
    },
  });
  output.progressDone();
  const { plan, milliseconds, failure, ...result } = done;
  if (output.isJson)
    output.json({ ...resultDocument(result), milliseconds, plan: planDocument(plan, result.settings) });
  else printResult(output, plan, result, milliseconds);
  if (failure !== undefined) throw failure;
  return 0;
}

async function planCall(flags: RestoreFlags): Promise<PlanRestoreCall> {
  const { parseTimeline } = await import('../../restore/target.ts');
  const target = targetOfFlags(flags);
  const { kind } = await parsedTarget(target);
  const standby = flags.standby === true;
  if (standby && kind !== 'latest')
    throw new ArchiveError('USAGE', 'a standby has no recovery target', { hint: 'Leave out --standby or the target.' });
  if (!standby && flags.primaryConninfo !== undefined)
    throw new ArchiveError('USAGE', '--primary-conninfo is for a standby', { hint: 'Add --standby.' });
  if (kind === 'latest' && flags.targetAction !== 'promote')
    throw new ArchiveError('USAGE', `--target-action ${flags.targetAction} needs a target`, {
      hint: 'Without a target PostgreSQL promotes at the end of the WAL.',
    });
  return {
    target,
    timeline: parseTimeline(flags.targetTimeline),
    action: flags.targetAction,
    standby,
    repositories: flags.repository,
    tablespaces: new Map([...flags.tablespace, ...flags.tablespaceOid].map(mapping)),
    ...(flags.asOf === undefined ? {} : { asOf: flags.asOf }),
    ...(flags.primaryConninfo === undefined ? {} : { primaryConninfo: flags.primaryConninfo }),
    newTablespaces: flags.allowNewTablespaces === true ? 'allow' : 'refuse',
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
