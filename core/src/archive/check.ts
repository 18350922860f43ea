import type { Finding } from '../check/finding.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { ServerFacts } from '../postgres/server-facts.ts';
import type { Outcome } from './call.ts';
import { warnOfDropped } from './dropped-warning.ts';
import { tellingOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface CheckCall extends CallOptions {
  /** Whether the server is looked at. Default true. */
  readonly server?: boolean;
  /** Whether the storages are tried; without it nothing is written. Default true. */
  readonly storage?: boolean;
  /** Told of each finding as it is made. */
  readonly onFinding?: (finding: Finding) => void;
  /** Told of each event beside the hooks of the config. It must not throw. */
  readonly onEvent?: EventSink;
}

/** `failure`: what names the checks that failed. */
export interface CheckDone extends Outcome {
  readonly findings: readonly Finding[];
}

/** See `Archive.check`. */
export async function check(at: Workplace, call: CheckCall): Promise<CheckDone> {
  warnOfDropped(at.config, at.logger);
  const findings: Finding[] = [];
  for await (const finding of look(at, call)) {
    findings.push(finding);
    call.onFinding?.(finding);
  }
  const failed = findings.filter(({ state }) => state === 'failed');
  const names = failed.map(({ subject, check: name }) => `${subject}: ${name}`).join(', ');
  const message = `${failed.length} of ${findings.length} checks failed (${names})`;
  return { findings, failure: failed.length === 0 ? undefined : new ArchiveError('CHECK_FAILED', message) };
}

async function* look(at: Workplace, call: CheckCall): AsyncGenerator<Finding, void, undefined> {
  const { config, logger, registry, signal } = at;
  let facts: ServerFacts | undefined;
  if (call.server !== false) {
    const [{ readServerFacts }, { checkServer }] = await Promise.all([
      import('../postgres/server-facts.ts'),
      import('../check/server-check.ts'),
    ]);
    try {
      facts = await readServerFacts(await at.target(), { signal });
      yield* checkServer(facts, config);
    } catch (error) {
      yield failure('server', 'connection', error);
    }
  }
  if (call.storage === false) return;
  const { emit } = tellingOf(await at.hooks(), { onEvent: call.onEvent, signal });
  const { repositories } = await at.open({ retry: { deadline: 10_000 } });
  const [{ probeStorage }, { checkArchive }, { checkCodecs }] = await Promise.all([
    import('../check/storage-probe.ts'),
    import('../check/archive-check.ts'),
    import('../check/codec-check.ts'),
  ]);
  for (const [index, repository] of repositories.entries()) {
    try {
      yield await checkArchive(repository, facts?.systemId, { signal });
    } catch (error) {
      yield failure(`repository ${repository.name}`, 'archive', error);
      continue;
    }
    const section = config.repositories[index];
    const readOnly = section?.readOnly === true;
    const identities = config.restore.identities.length > 0;
    try {
      const options = { systemId: facts?.systemId, readOnly, identities, signal };
      for await (const finding of checkCodecs(repository, options)) {
        tellKeys(emit, repository.name, finding);
        yield finding;
      }
    } catch (error) {
      yield failure(`repository ${repository.name}`, 'keys', error);
    }
    logger.debug({ repository: repository.name }, 'probing the storage');
    const backEnd = section === undefined || readOnly ? undefined : await registry.createStorage(section.storage);
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

/** What was skipped or is not known says nothing of the keys. */
function tellKeys(emit: EventSink, repository: string, { check: name, state, message }: Finding): void {
  if (name !== 'keys') return;
  if (state === 'ok') emit('key.readable', { repository, scope: 'newest' });
  if (state === 'failed') emit('key.unreadable', { repository, scope: 'newest', message });
}

/** What made a whole part impossible, as a finding; a cancelled check is no finding. */
function failure(subject: string, check: string, error: unknown): Finding {
  if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
  return { subject, check, state: 'failed', message: `${error.code}: ${error.message}`, hint: error.hint };
}
