/** Runs: what the scheduler does or has done, and how it is asked. */
import type { JobConfig } from '../config/config.ts';
import type { ArchiveError } from '../contracts/errors.ts';

/** What a run does: as the command of that name. */
export type JobKind = JobConfig['do'];

/** Why a run began. `catch-up`: it was due while nobody could run it. `request`: somebody has asked for it. */
export type Trigger = 'schedule' | 'catch-up' | 'request';

/**
 * How a run stands. `interrupted`: whoever ran it is gone, and nobody knows how far it came. `skipped`: it was due and did not begin, and its
 * summary says why.
 */
export type RunState = 'running' | 'succeeded' | 'failed' | 'cancelled' | 'interrupted' | 'skipped';

/** One run of a job, as it is on record in the repository. Times in epoch milliseconds. */
export interface Run {
  /** `<job>-<stamp>`, where the stamp is the moment that it was due or asked for: one moment of one job is run once. */
  readonly id: string;
  /** The name of the job; of what somebody asked for, that of its kind. */
  readonly job: string;
  readonly kind: JobKind;
  readonly trigger: Trigger;
  /** Who asked for it: the name of a token. */
  readonly by?: string;
  /**
   * When it was due or asked for. A moment of the cron expression is a whole second; that of a run which repeats an interrupted one is some
   * milliseconds later, and what was asked for is at no whole second either.
   */
  readonly planned: number;
  /** The id of the interrupted run that it does again. */
  readonly repeats?: string;
  readonly started: number;
  readonly ended?: number;
  readonly state: RunState;
  /** The host that ran it. */
  readonly host: string;
  /** One line for people: what it came to. */
  readonly summary?: string;
  /** Why it failed. */
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
  /** What it came to as data, such as the id and the bytes of a backup. */
  readonly result?: Readonly<Record<string, unknown>>;
}

/** A run that goes on in this process. */
export interface ActiveRun extends Run {
  readonly state: 'running';
  /** How far it is: bytes, and of how many, where that is known. */
  readonly progress?: { readonly done: number; readonly total?: number; readonly text: string };
}

/** A line of the log of a run. */
export interface RunLine {
  /** Epoch milliseconds. */
  readonly time: number;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
}

/** When a job is due next. Epoch milliseconds. */
export interface PlannedRun {
  readonly job: JobConfig;
  /** Absent: never again. */
  readonly next?: number;
}

/**
 * Who runs the jobs of a cluster. One among all daemons of the cluster does, by an advisory lock of its server. `waiting`: another one has it,
 * or the server cannot be asked, and `problem` says which.
 */
export interface SchedulerState {
  readonly state: 'running' | 'waiting' | 'stopped';
  /** Epoch milliseconds. */
  readonly since: number;
  readonly problem?: string;
}

/** What is asked for by hand. */
export interface RunRequest {
  readonly kind: JobKind;
  /** Who asks. */
  readonly by: string;
  /** Of a backup. */
  readonly label?: string;
  /** Of a verification. */
  readonly level?: 'chain' | 'sample' | 'full';
}

/** The jobs of one cluster. Its runs are facts in the repositories, added when a run begins and when it ends. */
export interface Scheduler {
  readonly state: SchedulerState;
  /** The jobs of the config, in its order. */
  planned(): readonly PlannedRun[];
  running(): readonly ActiveRun[];
  /** The log of a run of this process; undefined for others, and for those long ago. */
  log(id: string): readonly RunLine[] | undefined;
  /**
   * Begins a run, and returns when it is on record. Errors: `RUN_BUSY` while one of the kind runs, `SCHEDULER_WAITING` while this is not the
   * one that runs the jobs, those of the repositories.
   */
  start(request: RunRequest): Promise<ActiveRun>;
  /** Cancels a run of this process, and waits until it has ended. Errors: `RUN_NOT_FOUND`. */
  cancel(id: string, by: string): Promise<Run>;
  /** Begins nothing more, cancels what runs after a grace (milliseconds), puts that on record, and gives the lock back. */
  close(grace?: number): Promise<void>;
}

/** Told of runs as they begin and end, for metrics and for the page. It must not throw. */
export type RunSink = (run: Run, error?: ArchiveError) => void;
