import { randomInt } from 'node:crypto';
import { Option, type Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import { examples } from '../help.ts';
import { runCommand, type CommandContext } from '../run.ts';
import { addTargetOptions, parsedTarget, targetOfFlags, type TargetFlags } from '../target-options.ts';

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

async function run(flags: DrillFlags, { output, config, archive }: CommandContext): Promise<void> {
  const folder = flags.folder ?? config.drill.folder;
  if (folder === undefined)
    throw new ArchiveError('USAGE', 'the drill has no folder to restore into', {
      hint: 'Name one with --folder or drill.folder: absent or empty, on a disk with room for the whole database.',
    });
  const [{ drillDocument, drillLines, DrillProgressText }, { parseTimeline }] = await Promise.all([
    import('../drill-view.ts'),
    import('../../restore/target.ts'),
  ]);
  const target = targetOfFlags(flags);
  const { kind } = await parsedTarget(target);
  const random = flags.random === true;
  if (random && (kind !== 'latest' || flags.target !== undefined))
    throw new ArchiveError('USAGE', '--random does not go with a target');
  if (flags.seed !== undefined && !random) throw new ArchiveError('USAGE', '--seed goes with --random');
  const timeline = parseTimeline(flags.targetTimeline);
  const seed = random ? (seedOf(flags.seed) ?? randomInt(2 ** 32)) : undefined;
  const text = new DrillProgressText({ bar: output.isTerminal });
  const opened = await archive();
  if (seed !== undefined) output.note(`drawing a moment with --seed ${seed}`);
  const done = await opened.drill({
    folder,
    target: random ? 'random' : target,
    timeline,
    ...(seed === undefined ? {} : { seed }),
    ...(flags.backup === undefined ? {} : { backup: flags.backup }),
    ...(flags.systemId === undefined ? {} : { systemId: flags.systemId }),
    ...(flags.repository === undefined ? {} : { repository: flags.repository }),
    ...(flags.keep === true ? { keep: true } : {}),
    sync: flags.sync,
    onProgress: (progress) => {
      text.update(progress);
      output.progress(() => text.toString());
    },
  });
  output.progressDone();
  const { recorded, warnings, failure } = done;
  if (output.isJson) output.json(drillDocument(done, { recorded, warnings }));
  else for (const line of drillLines(done)) output.line(line);
  if (failure !== undefined) throw failure;
}

function seedOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seed = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (seed < 2 ** 32) return seed;
  throw new ArchiveError('USAGE', `not a seed: "${text}"`, { hint: 'Give the number that an earlier drill printed.' });
}
