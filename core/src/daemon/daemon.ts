/** What `pgark run` is made of, for those who look at it: the API, the metrics, the page. */
import type { Archive } from '../archive/archive.ts';
import type { BackupList } from '../archive/list.ts';
import type { StatusDone } from '../archive/status.ts';
import type { DaemonConfig } from '../config/config.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { ArchiveError } from '../contracts/errors.ts';
import type { ArchiveEvents, EventName } from '../contracts/hook.ts';
import type { MetricSample } from '../contracts/plugin.ts';
import type { HookDelivery } from '../hooks/courier.ts';
import type { Run, Scheduler } from '../schedule/run.ts';
import type { ReceiverState } from '../status/receiver-state.ts';
import type { StorageCall } from '../storage/observe.ts';

/** All clusters of a config, under one supervisor. */
export interface Daemon {
  readonly version: string;
  /** The host that it runs on. */
  readonly host: string;
  /** Epoch milliseconds. */
  readonly started: number;
  readonly config: DaemonConfig;
  readonly state: 'starting' | 'running' | 'draining';
  /** By name, in the order of the config. Another one after a reload. */
  readonly clusters: ReadonlyMap<string, DaemonCluster>;
  /** Those that were not begun, and why: their section of the config is not valid. */
  readonly broken: ReadonlyMap<string, ArchiveError>;
  /** Clusters whose receiving thread stands still: it has given no sign of life for so many milliseconds, default 30 000. */
  stuck(milliseconds?: number): readonly string[];
  /** Tells everything that happens, until the function that it returns is called. */
  observe(observer: DaemonObserver): () => void;
}

/** Everything of one cluster. */
export interface DaemonCluster {
  readonly name: string;
  /** Its config as it was loaded. */
  readonly loaded: LoadedConfig;
  readonly archive: Archive;
  readonly scheduler: Scheduler;
  /** What runs for it, the receiver first. */
  parts(): readonly PartReport[];
  /** What the receiver said of itself a moment ago, at most `refresh` or 15 s; undefined at the very start. It needs no storage and no server. */
  receiver(): ReceiverState | undefined;
  /**
   * The last look at it; undefined before the first. Never waits. When nothing at all can be seen, it stays what was seen last, with the times
   * of then, and `failures` says what is in the way since.
   */
  latest(): Look | undefined;
  /** Looks at everything, after the look that goes on, and gives the latest. It does not throw: what failed is in the look. */
  look(): Promise<Look>;
  /**
   * How the stream went over the last six hours, oldest first: one every `refresh`, 15 s at most, and fewer the further back. While nobody knew,
   * there is a time alone.
   */
  samples(): readonly StreamSample[];
  /** What happened lately, newest last; not each file that was shipped. */
  events(): readonly SeenEvent[];
}

/** Something that the supervisor keeps running. */
export interface PartReport {
  readonly name: 'receiver' | 'scheduler' | 'wal-server';
  /** `failed`: it ended, and begins again at `nextTry`. */
  readonly state: 'starting' | 'running' | 'failed' | 'stopped';
  /** Epoch milliseconds. */
  readonly since: number;
  /** How often it was begun anew. */
  readonly restarts: number;
  /** Why it ended last. */
  readonly error?: ArchiveError;
  /** Epoch milliseconds. */
  readonly nextTry?: number;
}

/** What was seen of a cluster at one moment. What could not be seen is absent, and has a failure. */
export interface Look {
  /** When it began and ended, epoch milliseconds. */
  readonly began: number;
  readonly ended: number;
  readonly status?: StatusDone;
  /** Listed anew after what this daemon does to them, else every tenth look. */
  readonly backups?: BackupList;
  /** The newest, and of each job some. */
  readonly runs?: readonly Run[];
  /** What was due or asked for from then on is all in `runs`, epoch milliseconds, and not all of what was before. Absent: all on record is. */
  readonly runsFrom?: number;
  /** Why some runs could not be read: there may be more. It is one of `failures` for as long as the list is shown. */
  readonly runsFailure?: ArchiveError;
  /** When backups and runs were listed, epoch milliseconds: it may be before the look. Absent: they were not. */
  readonly listed?: number;
  readonly failures: readonly ArchiveError[];
}

/** Positions of the stream at one moment; LSNs as bytes. What nobody knew is absent. */
export interface StreamSample {
  /** Epoch milliseconds. */
  readonly time: number;
  readonly server?: bigint;
  readonly received?: bigint;
  readonly flushed?: bigint;
  /** What every repository has. */
  readonly shipped?: bigint;
}

/** An event, and when it was told, epoch milliseconds. */
export interface SeenEvent<Name extends EventName = EventName> {
  readonly time: number;
  readonly name: Name;
  readonly data: ArchiveEvents[Name];
}

/** Told of what happens, by the name of the cluster. What it does must be short, and must not throw. */
export interface DaemonObserver {
  readonly event?: (cluster: string, seen: SeenEvent) => void;
  readonly storageCall?: (cluster: string, repository: string, call: StorageCall) => void;
  readonly metric?: (cluster: string, sample: MetricSample) => void;
  readonly delivery?: (cluster: string, delivery: HookDelivery) => void;
  readonly run?: (cluster: string, run: Run) => void;
  readonly part?: (cluster: string, report: PartReport) => void;
  readonly looked?: (cluster: string, look: Look) => void;
  /** A fault of pgark or of a plugin, which ended nothing else. */
  readonly fault?: (error: ArchiveError) => void;
}
