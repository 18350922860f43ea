import { Option, type Command } from 'commander';
import { ArchiveError, isArchiveError } from '../../contracts/errors.ts';
import type { DrillOptions, DrillResult } from '../../drill/drill.ts';
import type { Events } from '../../plugins/events.ts';
import { fetchCommandOf } from '../fetch-command.ts';
import { examples } from '../help.ts';
import { runCommand, type CommandContext } from '../run.ts';
import { addTargetOptions, targetOfFlags, type TargetFlags } from '../target-options.ts';

interface DrillFlags extends TargetFlags {
  readonly random?: boolean;
  readonly seed?: string;
  readonly folder?: string;
  readonly backup?: string;
  readonly systemId?: string;
  readonly repository?: string;
  readonly keep?: boolean;
  readonly sync: boolean;
}

export function register(program: Command): void {
  const drill = program
    .command('drill')
    .description('prove a backup: restore it into a folder of its own, start it, check it, remove it')
    .option('--folder <folder>', 'absent or empty, with room for the database (default: drill.folder)');
  addTargetOptions(drill)
    .option('--random', 'up to a random moment that the newest backup leads to')
    .option('--seed <number>', 'draw the same moment again')
    .option('--backup <id>', 'prove this backup (default: the newest that leads to the target)')
    .option('--system-id <number>', 'the cluster, if the archive holds several of its name')
    .addOption(new Option('--repository <name>', 'prove what this one holds (default: the first of the config)'))
    .option('--keep', 'leave the restored cluster, stopped, in the folder until the next drill')
    .option('--no-sync', 'do not make the files durable: faster, and so are the times that are measured')
    .action(async (flags: DrillFlags, command: Command) => runCommand(command, (context) => run(flags, context)));
  examples(drill, [
    ['pgark drill --folder /srv/drill', 'the newest backup, up to the end of the archive'],
    ['pgark drill --random', 'up to a moment of its own each time: for a timer'],
    ['pgark drill --backup 20261121T064530Z-3f9a --target immediate', 'this backup, without the WAL after it'],
    ['pgark drill --repository offsite --json', 'what another repository holds, for programs'],
  ]);
}

async function run(flags: DrillFlags, context: CommandContext): Promise<number> {
  const { output, config, logger, signal, env } = context;
  const folder = flags.folder ?? config.drill.folder;
  if (folder === undefined)
    throw new ArchiveError('USAGE', 'the drill has no folder to restore into', {
      hint: 'Name one with --folder or drill.folder: absent or empty, on a disk with room for the whole database.',
    });
  const [{ drill }, { newSeed }, { drillDocument, drillLines, DrillProgressText }, { parseTimeline }, { SharedLease }] =
    await Promise.all([
      import('../../drill/drill.ts'),
      import('../../drill/random-target.ts'),
      import('../drill-view.ts'),
      import('../../restore/target.ts'),
      import('../../repository/shared-lease.ts'),
    ]);
  const target = await targetOfFlags(flags);
  const random = flags.random === true;
  if (random && (target.kind !== 'latest' || flags.target !== undefined))
    throw new ArchiveError('USAGE', '--random does not go with a target');
  if (flags.seed !== undefined && !random) throw new ArchiveError('USAGE', '--seed goes with --random');
  const section = config.repositories.find(({ name }) => flags.repository === undefined || name === flags.repository);
  // An unknown name is refused, with those that there are, when the archive is opened.
  const name = section?.name ?? flags.repository ?? '';
  const opened = await context.archive({ repositories: [name] });
  const [repository] = opened.repositories;
  const text = new DrillProgressText({ bar: output.isTerminal });
  const warnings: string[] = [];
  const warn = (warning: string): void => {
    warnings.push(warning);
    logger.warn({}, warning);
  };
  const { folder: _, ...settings } = config.drill;
  const seed = random ? (seedOf(flags.seed) ?? newSeed()) : undefined;
  if (seed !== undefined) output.note(`drawing a moment with --seed ${seed}`);
  const options: DrillOptions = {
    repository,
    folder,
    target: random ? 'random' : target,
    ...(seed === undefined ? {} : { seed }),
    timeline: parseTimeline(flags.targetTimeline),
    ...(flags.backup === undefined ? {} : { backup: flags.backup }),
    ...(flags.systemId === undefined ? {} : { systemId: flags.systemId }),
    fetchCommand: await fetchCommandOf(context, [name]),
    settings: { ...settings, keep: flags.keep === true || settings.keep },
    path: env['PATH'],
    concurrency: config.restore.concurrency,
    sync: flags.sync,
    signal,
    hold: async ({ systemId, backup }) => {
      const lease = new SharedLease({ command: 'drill', signal, onWarning: warn });
      await lease.takeOne(repository, systemId, { backups: [backup.id], wal: 'all' });
      return () => lease.release();
    },
    onProgress: (progress) => {
      text.update(progress);
      output.progress(() => text.toString());
    },
    onWarning: warn,
  };
  const result = await drill(options);
  output.progressDone();
  const recorded = section?.readOnly === true ? readOnly(name, warn) : await record(result, options, warn);
  if (output.isJson) output.json(drillDocument(result, { recorded, warnings }));
  else for (const line of drillLines(result)) output.line(line);
  await tell(result, opened.events);
  const { error } = result;
  if (error === undefined) return 0;
  const code = result.record.outcome === 'failed' ? 'DRILL_FAILED' : 'DRILL_INCONCLUSIVE';
  const verdict = code === 'DRILL_FAILED' ? 'is not proven' : 'could not be tried';
  throw new ArchiveError(code, `backup ${result.backup} ${verdict}: ${error.message}`, {
    cause: error,
    ...(error.code === 'DRILL_FAILED' ? {} : { hint: error.hint }),
    details: { backup: result.backup, code: error.code },
  });
}

function seedOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seed = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (seed < 2 ** 32) return seed;
  throw new ArchiveError('USAGE', `not a seed: "${text}"`, { hint: 'Give the number that an earlier drill printed.' });
}

function readOnly(name: string, warn: (warning: string) => void): false {
  warn(`repository ${name} is read-only here: the result is not recorded`);
  return false;
}

/** Adds the result to the archive. A drill whose credentials only read has its result all the same. */
async function record(
  { systemId, backup, record }: DrillResult,
  { repository }: DrillOptions,
  warn: (warning: string) => void,
): Promise<boolean> {
  const { DRILL_FACT } = await import('../../drill/drill-result.ts');
  const data: Readonly<Record<string, unknown>> = { ...record };
  try {
    await repository.facts(systemId).add(backup, { kind: DRILL_FACT, time: Date.parse(record.finished), data });
    return true;
  } catch (error) {
    if (!isArchiveError(error)) throw error;
    warn(`the result is not recorded in repository ${repository.name}: ${error.message}`);
    return false;
  }
}

async function tell({ backup, record }: DrillResult, events: Events): Promise<void> {
  const { repository, outcome, target, reached, started, finished, problem } = record;
  if (outcome === 'proven') {
    const seconds = (Date.parse(finished) - Date.parse(started)) / 1000;
    await events.emit('drill.finished', { backup, repository, target: target.text, lsn: reached?.lsn ?? '', seconds });
  } else await events.emit('drill.failed', { backup, repository, outcome, message: problem?.message ?? '' });
}
