import type { CallOptions } from '../contracts/storage.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { ScheduleClock } from '../schedule/clock.ts';
import { clusterLock } from '../schedule/cluster-lock.ts';
import type { RunSink, Scheduler } from '../schedule/run.ts';
import { JobScheduler } from '../schedule/scheduler.ts';
import { runWork } from './run-work.ts';
import { tellingOf } from './telling.ts';
import type { Workplace } from './workplace.ts';

export interface SchedulerCall extends CallOptions {
  /** Told of each run as it begins and as it ends. It must not throw. */
  readonly onRun?: RunSink;
  /** Told of each event beside the hooks of the config. It must not throw. */
  readonly onEvent?: EventSink;
  /** By which jobs are due. Default that of this host. */
  readonly clock?: ScheduleClock;
  /** Milliseconds of real time between two looks at the lock of the cluster. Default 3000. */
  readonly lockInterval?: number;
}

/** Milliseconds without progress in which a record of a run is tried again by the storage itself; the scheduler does the rest. */
const RECORD_RETRY = 5000;

/** See `Archive.openScheduler`. */
export async function openScheduler(at: Workplace, call: SchedulerCall): Promise<Scheduler> {
  const { config, logger } = at;
  const { onRun, onEvent, clock, lockInterval } = call;
  const { repositories, writable } = await at.open({ retry: { deadline: RECORD_RETRY } });
  const events = await at.hooks();
  const { emit } = tellingOf(events, { onEvent, signal: at.signal });
  events.start();
  const scheduler = new JobScheduler({
    cluster: config.cluster,
    jobs: config.schedule,
    takeLead: clusterLock({
      cluster: config.cluster,
      target: () => at.target(),
      ...(lockInterval === undefined ? {} : { interval: lockInterval }),
    }),
    repositories,
    writable,
    work: runWork(at, onEvent === undefined ? {} : { onEvent }),
    logger,
    emit,
    ...(onRun === undefined ? {} : { onRun }),
    ...(clock === undefined ? {} : { clock }),
  });
  // What the archive cancels is put on record before its repositories are closed.
  at.onClose(() => scheduler.close());
  return scheduler;
}
