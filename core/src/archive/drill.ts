import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import { DRILL_FACT } from '../drill/drill-result.ts';
import { drill as runDrill, type DrillOptions, type DrillProgress, type DrillResult } from '../drill/drill.ts';
import { newSeed } from '../drill/random-target.ts';
import { SharedLease } from '../repository/shared-lease.ts';
import { parseTarget, type TargetInput, type TimelineChoice } from '../restore/target.ts';
import type { LongCall, Outcome } from './call.ts';
import { fetchCommandOf } from './fetch-command.ts';
import { errorOf, tellingOf, type Telling } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface DrillCall extends LongCall<DrillProgress> {
  /** Absent or empty, with room for the database. Default: `drill.folder` of the config. */
  readonly folder?: string;
  /** Up to where it recovers; `random`: a moment that the newest backup leads to. Default: all that the archive has. */
  readonly target?: TargetInput | 'random';
  /** With `random`: draws the same moment again. */
  readonly seed?: number;
  /** Along which timeline. Default `latest`. */
  readonly timeline?: TimelineChoice;
  /** The id of the backup that is proven. Default: the newest that leads to the target. */
  readonly backup?: string;
  /** The cluster, if the archive holds several of its name. Decimal text. */
  readonly systemId?: string;
  /** The repository whose backup is proven. Default: the first of the config. */
  readonly repository?: string;
  /** Leaves the restored cluster, stopped, in the folder. Default: `drill.keep` of the config. */
  readonly keep?: boolean;
  /** Whether files are made durable. Default true. */
  readonly sync?: boolean;
}

export interface DrillDone extends DrillResult, Outcome {
  /** Whether the result is on record in the repository. */
  readonly recorded: boolean;
  readonly warnings: readonly string[];
}

/** Ends of a call that say nothing of the archive: somebody has asked for them. */
const ASKED_FOR: ReadonlySet<ErrorCode> = new Set(['ABORTED', 'USAGE']);

/** See `Archive.drill`. A drill that came to no result is told as one that is inconclusive: nobody sees a drill from cron but by its events. */
export async function drill(at: Workplace, call: DrillCall): Promise<DrillDone> {
  const telling = tellingOf(await at.hooks(), { onEvent: call.onEvent, signal: at.signal });
  try {
    return await attempt(at, call, telling);
  } catch (error) {
    const { code, message } = errorOf(error);
    const repository = call.repository ?? at.config.repositories[0]?.name ?? '';
    if (!ASKED_FOR.has(code))
      telling.emit('drill.failed', { backup: call.backup ?? '', repository, outcome: 'inconclusive', message });
    throw error;
  }
}

async function attempt(at: Workplace, call: DrillCall, { emit }: Telling): Promise<DrillDone> {
  const { config, loaded, logger, signal } = at;
  const folder = call.folder ?? config.drill.folder;
  if (folder === undefined)
    throw new ArchiveError('USAGE', 'the drill has no folder to restore into', {
      hint: 'Name one with --folder or drill.folder: absent or empty, on a disk with room for the whole database.',
    });
  const target = call.target === 'random' ? call.target : parseTarget(call.target ?? {});
  const section = config.repositories.find(({ name }) => call.repository === undefined || name === call.repository);
  // An unknown name is refused, with those that there are, when the repositories are opened.
  const name = section?.name ?? call.repository ?? '';
  const { repositories } = await at.open({ repositories: [name] });
  const [repository] = repositories;
  const warnings: string[] = [];
  const warn = (warning: string): void => {
    warnings.push(warning);
    logger.warn({}, warning);
  };
  const { folder: _, ...settings } = config.drill;
  const seed = target === 'random' ? (call.seed ?? newSeed()) : undefined;
  const options: DrillOptions = {
    repository,
    folder,
    target,
    ...(seed === undefined ? {} : { seed }),
    timeline: call.timeline ?? 'latest',
    ...(call.backup === undefined ? {} : { backup: call.backup }),
    ...(call.systemId === undefined ? {} : { systemId: call.systemId }),
    fetchCommand: fetchCommandOf(at, [name]),
    settings: { ...settings, keep: call.keep ?? settings.keep },
    env: loaded.env,
    concurrency: config.restore.concurrency,
    sync: call.sync !== false,
    signal,
    hold: async ({ systemId, backup }) => {
      const lease = new SharedLease({ command: 'drill', signal, onWarning: warn });
      await lease.takeOne(repository, systemId, { backups: [backup.id], wal: 'all' });
      return () => lease.release();
    },
    ...(call.onProgress === undefined ? {} : { onProgress: call.onProgress }),
    onWarning: warn,
  };
  const result = await runDrill(options);
  const recorded = section?.readOnly === true ? readOnly(name, warn) : await record(result, options, warn);
  tell(result, emit);
  return { ...result, recorded, warnings, failure: failureOf(result) };
}

function failureOf({ backup, error, record }: DrillResult): ArchiveError | undefined {
  if (error === undefined) return undefined;
  const code = record.outcome === 'failed' ? 'DRILL_FAILED' : 'DRILL_INCONCLUSIVE';
  const verdict = code === 'DRILL_FAILED' ? 'is not proven' : 'could not be tried';
  return new ArchiveError(code, `backup ${backup} ${verdict}: ${error.message}`, {
    cause: error,
    ...(error.code === 'DRILL_FAILED' ? {} : { hint: error.hint }),
    details: { backup, code: error.code },
  });
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

function tell({ backup, record }: DrillResult, emit: EventSink): void {
  const { repository, outcome, target, reached, started, finished, problem } = record;
  if (outcome === 'proven') {
    const seconds = (Date.parse(finished) - Date.parse(started)) / 1000;
    emit('drill.finished', { backup, repository, target: target.text, lsn: reached?.lsn ?? '', seconds });
  } else emit('drill.failed', { backup, repository, outcome, message: problem?.message ?? '' });
}
