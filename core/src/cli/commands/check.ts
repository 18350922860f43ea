import type { Command } from 'commander';
import type { Finding } from '../../check/finding.ts';
import { ArchiveError, isArchiveError } from '../../contracts/errors.ts';
import type { ServerFacts } from '../../postgres/server-facts.ts';
import { examples } from '../help.ts';
import { runCommand, type CommandContext } from '../run.ts';

interface CheckFlags {
  readonly server: boolean;
  readonly storage: boolean;
}

/** Wide enough for every state and for most checks. */
const STATE_WIDTH = 7;
const CHECK_WIDTH = 14;

export function register(program: Command): void {
  const check = program
    .command('check')
    .description('try the storage and look at the server: one line for each thing that must work')
    .option('--no-server', 'leave the server out')
    .option('--no-storage', 'leave the storage out: nothing is written')
    .action(async (flags: CheckFlags, command: Command) =>
      runCommand(command, async (context) => {
        const { output } = context;
        const { warnOfDropped } = await import('../dropped-warning.ts');
        warnOfDropped(context.config, context.logger);
        const findings: Finding[] = [];
        for await (const finding of run(flags, context)) {
          findings.push(finding);
          if (!output.isJson) for (const line of lines(finding)) output.line(line);
        }
        const failed = findings.filter(({ state }) => state === 'failed');
        if (output.isJson) output.json({ ok: failed.length === 0, findings });
        if (failed.length > 0) {
          const names = failed.map(({ subject, check: name }) => `${subject}: ${name}`).join(', ');
          throw new ArchiveError('CHECK_FAILED', `${failed.length} of ${findings.length} checks failed (${names})`);
        }
      }),
    );
  examples(check, [
    ['pgark check', 'after writing the config, and whenever something is strange'],
    ['pgark check --no-server', 'on a host that cannot reach the server'],
    ['pgark check --json', 'for programs: every finding with its state'],
  ]);
}

async function* run(flags: CheckFlags, context: CommandContext): AsyncGenerator<Finding, void, undefined> {
  const { config, logger, signal } = context;
  const archive = await context.archive({ retry: { deadline: 10_000 } });
  let facts: ServerFacts | undefined;
  if (flags.server) {
    const [{ readServerFacts }, { checkServer }] = await Promise.all([
      import('../../postgres/server-facts.ts'),
      import('../../check/server-check.ts'),
    ]);
    try {
      facts = await readServerFacts(await archive.target(), { signal });
      yield* checkServer(facts, config);
    } catch (error) {
      yield failure('server', 'connection', error);
    }
  }
  if (!flags.storage) return;
  const [{ probeStorage }, { checkArchive }, { checkCodecs }] = await Promise.all([
    import('../../check/storage-probe.ts'),
    import('../../check/archive-check.ts'),
    import('../../check/codec-check.ts'),
  ]);
  for (const [at, repository] of archive.repositories.entries()) {
    try {
      yield await checkArchive(repository, facts?.systemId, { signal });
    } catch (error) {
      yield failure(`repository ${repository.name}`, 'archive', error);
      continue;
    }
    const section = config.repositories[at];
    const readOnly = section?.readOnly === true;
    const identities = config.restore.identities.length > 0;
    try {
      yield* checkCodecs(repository, { systemId: facts?.systemId, readOnly, identities, signal });
    } catch (error) {
      yield failure(`repository ${repository.name}`, 'keys', error);
    }
    logger.debug({ repository: repository.name }, 'probing the storage');
    const backEnd =
      section === undefined || readOnly ? undefined : await archive.registry.createStorage(section.storage);
    try {
      yield* probeStorage(repository.storage, {
        name: repository.name,
        prefix: `${repository.cluster}/check/`,
        readOnly,
        signal,
        ...(repository.lock !== undefined && { lock: repository.lock }),
        ...(backEnd !== undefined && {
          backEnd: { storage: backEnd, prefix: section?.prefix === undefined ? '' : `${section.prefix}/` },
        }),
      });
    } finally {
      await backEnd?.close();
    }
  }
}

/** What made a whole part impossible, as a finding; a cancelled check is no finding. */
function failure(subject: string, check: string, error: unknown): Finding {
  if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
  return { subject, check, state: 'failed', message: `${error.code}: ${error.message}`, hint: error.hint };
}

function lines({ subject, check, state, message, hint }: Finding): readonly string[] {
  const text = `${state.padEnd(STATE_WIDTH)}  ${subject}: ${check.padEnd(CHECK_WIDTH)}  ${message}`;
  return hint === undefined ? [text] : [text, `${' '.repeat(STATE_WIDTH)}  hint: ${hint}`];
}
