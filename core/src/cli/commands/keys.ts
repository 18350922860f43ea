import type { Command } from 'commander';
import { isArchiveError, type ArchiveError } from '../../contracts/errors.ts';
import { count } from '../backup-view.ts';
import { examples } from '../help.ts';
import type { ShownKeys, UsedCodec } from '../keys-view.ts';
import { repositoryOption } from '../repository-option.ts';
import { runCommand, toArchiveError, type CommandContext } from '../run.ts';

interface KeysFlags {
  readonly repository: readonly string[];
  readonly all: boolean;
}

export function register(program: Command): void {
  const keys = program
    .command('keys')
    .description(
      'show for which keys the objects of the archive were written and which of them open here; fails when one does not',
    )
    .addOption(repositoryOption())
    .option(
      '--all',
      'look at every object, one small read each (default: some of the WAL, and of each backup the smallest, which stands for the others)',
      false,
    )
    .action(async (flags: KeysFlags, command: Command) => runCommand(command, (context) => run(flags, context)));
  examples(keys, [
    ['pgark keys', 'before a key is retired: is anything still written for it?'],
    ['pgark keys --all', 'before it is deleted for good; reads headers only: damage behind them shows in a restore'],
    ['pgark keys --repository far', 'one repository'],
    [
      'pgark keys --json',
      'repositories: state (readable, unreadable, write-only, unknown, empty, failed), writes, codecs, and keys with layers and what was looked at',
    ],
  ]);
}

async function run({ repository: names, all }: KeysFlags, context: CommandContext): Promise<void> {
  const { config, output, signal, logger } = context;
  const [{ showingOptions }, { surveyKeys }, { keyFailure, keyStateOf }, { keysJson, printKeys, writingCodecs }] =
    await Promise.all([
      import('../backups.ts'),
      import('../../keys/survey.ts'),
      import('../../keys/verdict.ts'),
      import('../keys-view.ts'),
    ]);
  const archive = await context.archive({ ...showingOptions(config), repositories: names });
  const atHand = { identities: config.restore.identities.length > 0, signal };
  const unreadable: ArchiveError[] = [];
  const failed: ArchiveError[] = [];
  const empty: ArchiveError[] = [];
  let looks = 0;
  const onLook = (): void => {
    looks++;
    if (all) output.progress(() => `looked at ${count(looks, 'object')}`);
  };
  const look = async (repository: (typeof archive.repositories)[number]): Promise<ShownKeys> => {
    const section = config.repositories.find(({ name }) => name === repository.name);
    const writes = writingCodecs(repository, section);
    const facts = { repository: repository.name, writes, readOnly: section?.readOnly === true };
    try {
      const survey = await surveyKeys(repository, { all, signal, onLook });
      const state = await keyStateOf(repository, survey.rows, atHand);
      const failure = keyFailure(repository, survey.rows, state);
      if (failure !== undefined) unreadable.push(failure);
      const suffixes = [...new Set(survey.rows.flatMap((row) => row.suffixes ?? []))];
      const used = await Promise.all(suffixes.map((suffix) => usedCodec(repository, suffix)));
      return { ...facts, state, survey, used };
    } catch (error) {
      const known = toArchiveError(error);
      if (known.code === 'ABORTED') throw known;
      if (isArchiveError(known, 'REPOSITORY_NOT_FOUND')) {
        empty.push(known);
        return { ...facts, state: 'empty' };
      }
      failed.push(known);
      return { ...facts, state: 'failed', error: known };
    }
  };
  const shown = await Promise.all(archive.repositories.map(look));
  output.progressDone();
  if (output.isJson) output.json(keysJson(shown));
  else {
    for (const [at, one] of shown.entries()) {
      if (at > 0) output.line();
      printKeys(output, one, all);
    }
  }
  const [error, ...others] = [...unreadable, ...failed, ...(empty.length === shown.length ? empty : [])];
  for (const { code, message } of others) logger.error({ code }, message);
  if (error !== undefined) throw error;
}

async function usedCodec(
  repository: { codecFor(suffix: string): Promise<{ readonly id: string }> },
  suffix: string,
): Promise<UsedCodec> {
  try {
    return { suffix, id: (await repository.codecFor(suffix)).id };
  } catch (error) {
    return { suffix, problem: toArchiveError(error) };
  }
}
