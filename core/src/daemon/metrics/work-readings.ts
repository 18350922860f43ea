/** What is known of parts, jobs and hooks. */
import type { Config } from '../../config/config.ts';
import type { Run } from '../../schedule/run.ts';
import type { DaemonCluster, Look } from '../daemon.ts';
import { reading, seconds, type Reading } from './reading.ts';

/** What the daemon knows by itself, without a look. */
export function* partReadings(cluster: DaemonCluster): Generator<Reading> {
  for (const { name: part, state, restarts } of cluster.parts()) {
    yield* reading('pgark_part_up', state === 'running', { part });
    yield* reading('pgark_part_restarts_total', restarts, { part });
  }
  const { scheduler } = cluster;
  yield* reading('pgark_scheduler_holder', scheduler.state.state === 'running');
  for (const { job, next } of scheduler.planned())
    yield* reading('pgark_run_next_timestamp_seconds', seconds(next), { job: job.name });
  for (const { job, started } of scheduler.running())
    yield* reading('pgark_run_started_timestamp_seconds', seconds(started), { job });
}

/** When it was looked, whether or not that says anything of now. */
export function* lookReadings({ began, ended }: Look): Generator<Reading> {
  yield* reading('pgark_look_timestamp_seconds', seconds(ended));
  yield* reading('pgark_look_duration_seconds', seconds(ended - began));
}

/** What a look has seen of runs and hooks. */
export function* workReadings({ status, runs }: Look, config: Config): Generator<Reading> {
  for (const { hook, waiting, oldest } of status?.hooks ?? []) {
    yield* reading('pgark_hook_waiting_events', waiting, { hook });
    yield* reading('pgark_hook_oldest_event_timestamp_seconds', seconds(oldest), { hook });
  }
  if (runs === undefined) return;
  const failedBackup = newest(runs, (run) => run.kind === 'backup' && FAILED.has(run.state));
  yield* reading('pgark_backup_last_failure_timestamp_seconds', seconds(endOf(failedBackup)));
  for (const job of jobNames(config)) {
    const own = runs.filter((run) => run.job === job);
    const succeeded = newest(own, ({ state }) => state === 'succeeded');
    const failed = newest(own, ({ state }) => FAILED.has(state));
    yield* reading('pgark_run_last_success_timestamp_seconds', seconds(endOf(succeeded)), { job });
    yield* reading('pgark_run_last_failure_timestamp_seconds', seconds(endOf(failed)), { job });
    if (succeeded?.ended !== undefined)
      yield* reading('pgark_run_last_duration_seconds', seconds(succeeded.ended - succeeded.started), { job });
  }
}

/** Those of the config, and what can be asked for by hand: jobs that the config has no more are left out. */
export function jobNames({ schedule }: Config): ReadonlySet<string> {
  return new Set([...schedule.map(({ name }) => name), ...KINDS]);
}

/** What jobs do. */
export const KINDS: readonly Run['kind'][] = ['backup', 'verify', 'drill', 'expire', 'gc', 'check'];

/** Ends that nobody has asked for. */
const FAILED: ReadonlySet<Run['state']> = new Set(['failed', 'interrupted', 'skipped']);

/** Of one that was interrupted nobody knows when. */
function endOf(run: Run | undefined): number | undefined {
  return run?.ended ?? run?.started;
}

function newest(runs: readonly Run[], fits: (run: Run) => boolean): Run | undefined {
  return runs
    .filter(fits)
    .reduce<Run | undefined>(
      (one, other) => (one === undefined || other.started > one.started ? other : one),
      undefined,
    );
}
