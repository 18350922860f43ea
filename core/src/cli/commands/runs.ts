import { Option, type Command } from 'commander';
import { ArchiveError } from '../../contracts/errors.ts';
import type { Run, RunState } from '../../schedule/run.ts';
import { formatDuration, formatTime } from '../../documents/format.ts';
import { runDocument } from '../../documents/run-document.ts';
import { examples } from '../help.ts';
import type { Column } from '../output.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface RunsFlags {
  readonly job: readonly string[];
  readonly state: readonly RunState[];
  readonly limit: number;
  readonly repository: readonly string[];
}

const STATES: readonly RunState[] = ['running', 'succeeded', 'failed', 'cancelled', 'interrupted', 'skipped'];
const LIMIT = 20;

export function register(program: Command): void {
  const runs = program
    .command('runs')
    .description('list what the jobs of "pgark run" have done, newest first')
    .addOption(
      new Option('--job <name>', 'only runs of this job; repeatable')
        .argParser((name: string, before: readonly string[]) => [...before, name])
        .default([], 'all'),
    )
    .addOption(
      new Option('--state <state>', `only those that are ${STATES.join(', ')}; repeatable`)
        .argParser((state: string, before: readonly RunState[]) => [...before, stateOf(state)])
        .default([], 'all'),
    )
    .addOption(new Option('--limit <number>', 'the most runs that are shown').argParser(limitOf).default(LIMIT))
    .addOption(repositoryOption())
    .action(async (flags: RunsFlags, command: Command) => runCommand(command, (context) => run(flags, context)));
  examples(runs, [
    ['pgark runs', 'a table of the last runs'],
    ['pgark runs --job nightly --limit 5', 'of one job'],
    ['pgark runs --state failed --state interrupted --state skipped', 'what went wrong'],
    ['pgark runs --json', 'everything about each of them, for programs; times in ISO 8601'],
  ]);
}

function stateOf(text: string): RunState {
  const state = STATES.find((one) => one === text);
  if (state !== undefined) return state;
  throw new ArchiveError('USAGE', `not a state of a run: "${text}"`, { hint: `Take one of ${STATES.join(', ')}.` });
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (Number.isSafeInteger(limit) && limit > 0) return limit;
  throw new ArchiveError('USAGE', `not a number of runs: "${text}"`, { hint: 'Give a whole number such as 50.' });
}

async function run(
  { job: jobs, state: states, limit, repository: repositories }: RunsFlags,
  { output, archive }: CommandContext,
): Promise<void> {
  const opened = await archive();
  const { runs, from, failure } = await opened.runs({ jobs, states, limit, repositories });
  if (output.isJson) output.json(runs.map(runDocument));
  else if (runs.length > 0) {
    output.table(runs, COLUMNS);
    if (from !== undefined) output.note('older runs are on record: a larger --limit may show more');
  } else if (failure === undefined) output.note('no run is on record');
  if (failure !== undefined) throw failure;
}

const COLUMNS: readonly Column<Run>[] = [
  { title: 'ID', value: ({ id }) => id },
  { title: 'DOES', value: ({ kind }) => kind },
  { title: 'WHY', value: ({ trigger, by }) => (by === undefined ? trigger : `${trigger} of ${by}`) },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'STARTED', value: ({ state, started }) => (state === 'skipped' ? undefined : formatTime(started)) },
  {
    title: 'TOOK',
    value: ({ state, started, ended }) =>
      state === 'skipped' || ended === undefined ? undefined : formatDuration(ended - started),
    align: 'right',
  },
  { title: 'HOST', value: ({ host }) => host },
  { title: 'WHAT CAME OF IT', value: ({ summary, error }) => summary ?? error?.message },
];
