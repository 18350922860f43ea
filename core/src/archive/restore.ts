import { ArchiveError } from '../contracts/errors.ts';
import { SharedLease } from '../repository/shared-lease.ts';
import { planRestore as plan, type PlanOptions } from '../restore/plan.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import { recoverySettings, type Setting } from '../restore/recovery-settings.ts';
import { restoreCommand } from '../restore/restore-command.ts';
import { restore as carryOut, type RestoreProgress, type RestoreResult } from '../restore/restore.ts';
import { parseTarget, type TargetAction, type TargetInput, type TimelineChoice } from '../restore/target.ts';
import type { ChosenRepositories, LongCall, Outcome } from './call.ts';
import { warnOfDropped } from './dropped-warning.ts';
import { fetchCommandOf } from './fetch-command.ts';
import { tellingOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

/** How far a restore is: before anything is written, `planning`. */
export type RestoreCallProgress = { readonly stage: 'planning'; readonly text: string } | RestoreProgress;

export interface PlanRestoreCall extends LongCall<RestoreCallProgress>, ChosenRepositories {
  /** The new data directory: absent, empty, or of an interrupted restore. Without one nothing is said about folders. */
  readonly directory?: string;
  /** Where the recovery ends, as on the command line: `{ time: '2026-11-21 06:00:00+02' }`. Default: all that the archive has. */
  readonly target?: TargetInput;
  /** Along which timeline. Default `latest`. */
  readonly timeline?: TimelineChoice;
  /** What the server does at the target. Default `promote`. */
  readonly action?: TargetAction;
  /** Makes a standby, which has no target. Default false. */
  readonly standby?: boolean;
  /** How the standby reaches its primary. Without it, it lives on the archive alone. */
  readonly primaryConninfo?: string;
  /** The id of the backup to begin from. Default: the newest that leads to the target. */
  readonly backup?: string;
  /** The cluster, if the archive holds several of its name. Decimal text. */
  readonly systemId?: string;
  /** Reads a storage with versions as it was at this moment. */
  readonly asOf?: Date;
  /** Old location or OID of a tablespace to its new location. */
  readonly tablespaces?: ReadonlyMap<string, string>;
  /** Whether the recovery may create tablespaces in folders that hold files of a cluster. Default `refuse`. */
  readonly newTablespaces?: 'refuse' | 'allow';
}

export interface RestoreCall extends PlanRestoreCall {
  readonly directory: string;
  /** As root: `USER` or `USER:GROUP` that gets the files. Default: the owner of the directory, or postgres. */
  readonly owner?: string;
  /** Parts that are read at once. Default: `restore.concurrency` of the config. */
  readonly concurrency?: number;
  /** Whether files are made durable. Default true. */
  readonly sync?: boolean;
  /** Whether missing configuration files are written. Default true. */
  readonly writeConfig?: boolean;
  /** Whether the `restore_command` is tried out as the user of the server. Default true. */
  readonly tryCommand?: boolean;
  /** Told of the plan before anything is written; what it throws ends the restore. */
  readonly onPlan?: (plan: PlannedRestore) => Promise<void> | void;
}

/** What a restore would do; `failure` is the first problem that keeps it from being done. */
export interface PlannedRestore extends Outcome {
  readonly plan: RestorePlan;
  /** What the restored server gets into its configuration. */
  readonly settings: readonly Setting[];
}

/** A cluster that is restored and can be started. */
export interface RestoreDone extends RestoreResult, Outcome {
  readonly plan: RestorePlan;
  /** How long it took, without the plan. */
  readonly milliseconds: number;
}

/** See `Archive.planRestore`. */
export async function planRestore(at: Workplace, call: PlanRestoreCall): Promise<PlannedRestore> {
  const { plan, settings, failure } = await makePlan(at, call);
  return { plan, settings, failure };
}

/** See `Archive.restore`. */
export async function restore(at: Workplace, call: RestoreCall): Promise<RestoreDone> {
  const { logger, signal } = at;
  const lease = new SharedLease({ command: 'restore', signal, onWarning: (warning) => logger.warn({}, warning) });
  try {
    return await planAndRestore(at, call, lease);
  } finally {
    await lease.release();
  }
}

async function planAndRestore(at: Workplace, call: RestoreCall, lease: SharedLease): Promise<RestoreDone> {
  const { config, logger, signal } = at;
  const events = await at.hooks();
  const { plan, settings, failure, fetchCommand } = await makePlan(at, call, lease);
  await call.onPlan?.({ plan, settings, failure });
  const begun = performance.now();
  const result = await carryOut(plan, {
    fetchCommand,
    signal,
    env: at.loaded.env,
    concurrency: call.concurrency ?? config.restore.concurrency,
    sync: call.sync !== false,
    writeConfig: call.writeConfig !== false,
    tryCommand: call.tryCommand !== false,
    ...(call.owner === undefined ? {} : { owner: call.owner }),
    ...(call.primaryConninfo === undefined ? {} : { primaryConninfo: call.primaryConninfo }),
    ...(call.onProgress === undefined ? {} : { onProgress: call.onProgress }),
    onWarning: (warning) => logger.warn({}, warning),
    onEvent: tellingOf(events, { onEvent: call.onEvent, signal }).emit,
  });
  const milliseconds = Math.round(performance.now() - begun);
  return { ...result, plan, milliseconds, failure: undefined };
}

interface Made extends PlannedRestore {
  readonly fetchCommand: readonly string[];
}

async function makePlan(at: Workplace, call: PlanRestoreCall, lease?: SharedLease): Promise<Made> {
  const { config, loaded, logger, signal } = at;
  warnOfDropped(config, logger);
  const { repositories = [], asOf, onProgress, primaryConninfo } = call;
  const opened = await at.open({ repositories, ...(asOf === undefined ? {} : { asOf }) });
  if (asOf !== undefined) logger.info({}, `the archive is read as it was at ${asOf.toISOString()}`);
  const made = await plan({
    ...planOptions(call),
    repositories: opened.repositories,
    spool: config.receive.spool,
    signal,
    ...(lease === undefined ? {} : { onSources: (sources) => lease.take(sources, { backups: 'all', wal: 'all' }) }),
    onProgress: (text) => onProgress?.({ stage: 'planning', text }),
  });
  const { backup, systemId, sources } = made;
  const kept = { backups: [backup.id], wal: [{ timeline: backup.timeline, from: backup.startLsn }] };
  await lease?.narrow(systemId, kept);
  // What was not named, or the plan leaves out, must not be asked in the recovery either: it could not answer.
  const all = sources.repositories.length === config.repositories.length;
  const used = all ? [] : sources.repositories.map(({ name }) => name);
  const fetchCommand = fetchCommandOf(at, used, asOf);
  const settings = recoverySettings(made, { restoreCommand: restoreCommand(made, fetchCommand), primaryConninfo });
  // The server that runs the command has another environment.
  for (const { origin } of loaded.settings)
    if (origin.kind === 'env')
      logger.warn(
        { name: origin.name },
        'the config takes a value from the environment, which the restored server must have too',
      );
  const [problem] = made.problems;
  const failure = problem && new ArchiveError(problem.code, problem.message, { hint: problem.hint });
  return { plan: made, settings, failure, fetchCommand };
}

function planOptions(call: PlanRestoreCall): Omit<PlanOptions, 'repositories'> {
  const target = parseTarget(call.target ?? {});
  const { timeline = 'latest', action = 'promote', standby = false } = call;
  if (standby && target.kind !== 'latest') throw new ArchiveError('USAGE', 'a standby has no recovery target');
  if (!standby && call.primaryConninfo !== undefined)
    throw new ArchiveError('USAGE', 'primaryConninfo is for a standby');
  if (target.kind === 'latest' && action !== 'promote')
    throw new ArchiveError('USAGE', `the action ${action} needs a target`, {
      hint: 'Without a target PostgreSQL promotes at the end of the WAL.',
    });
  return {
    target,
    timeline,
    action,
    standby,
    ...(call.tablespaces === undefined ? {} : { tablespaces: call.tablespaces }),
    ...(call.newTablespaces === undefined ? {} : { newTablespaces: call.newTablespaces }),
    ...(call.directory === undefined ? {} : { directory: call.directory }),
    ...(call.backup === undefined ? {} : { backup: call.backup }),
    ...(call.systemId === undefined ? {} : { systemId: call.systemId }),
  };
}
