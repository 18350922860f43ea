/** The config as the program sees it: defaults filled in, durations in milliseconds, sizes in bytes, frozen. */
import type { EventName, Severity } from '../contracts/hook.ts';
import type { Secret } from '../contracts/secret.ts';

/** Where a secret comes from; {@link import('./secrets.ts').readSecret} gets it when it is needed, not before. */
export type SecretSource =
  Secret | { readonly env: string } | { readonly file: string } | { readonly command: readonly string[] };

/** A part of the config that names a plugin. */
export interface PluginSection {
  /** Short name, package name or path. */
  readonly use: string;
  /** What the plugin validates, as written. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Where the section stands, for messages: `repositories[0].storage`. */
  readonly path: string;
  /**
   * Options whose value is a text from an environment variable, as paths (`level`, `keys[0]`): where the plugin does
   * not take the text, it is given what the text reads as in YAML (`3`, `true`, `[a, b]`).
   */
  readonly texts: readonly string[];
}

export interface RepositoryConfig {
  readonly name: string;
  readonly storage: PluginSection;
  /** In order of application. */
  readonly codecs: readonly PluginSection[];
  /** Keys are below it. */
  readonly prefix?: string;
  readonly readOnly: boolean;
  /** Milliseconds; absent: nothing is locked. */
  readonly lock?: number;
  /** Milliseconds without progress after which a call is tried again. */
  readonly stallTimeout: number;
  /** Calls at once. */
  readonly maxCalls?: number;
  /** Bytes per second. */
  readonly maxUploadRate?: number;
  readonly maxDownloadRate?: number;
}

export interface ReceiveConfig {
  readonly slot: string;
  /** Absolute path. */
  readonly spool: string;
  /** `remote` is confirmed by at least one repository, so that one that is down stops no commit. */
  readonly ack: 'local' | 'remote';
  /** Milliseconds. */
  readonly statusInterval: number;
  readonly createSlot: boolean;
  readonly onGap: 'continue' | 'stop';
  /** Segments that are shipped at once into each repository. */
  readonly shipConcurrency: number;
  /** Milliseconds between slices of the unfinished segment; absent: it is not shipped. */
  readonly tail?: number;
  /** Absent: nothing is watched. */
  readonly guardian?: GuardianConfig;
}

/** What watches over the slot, the server and the archive while the receiver runs, and what it may do. */
export interface GuardianConfig {
  /** Milliseconds between two looks. */
  readonly interval: number;
  /** Bytes that the server keeps for the slot before that is told. */
  readonly maxLag: number;
  readonly closeHoles: boolean;
  readonly backup: boolean;
  /** `all`: on each host of the URL. */
  readonly slots: 'primary' | 'all';
  /** URLs of the REST API of Patroni, one for each member. */
  readonly patroni: readonly string[];
}

export interface BackupConfig {
  readonly checkpoint: 'spread' | 'fast';
  /** Bytes per second. */
  readonly maxRate?: number;
  /** Bytes. */
  readonly partSize: number;
  /** Milliseconds. */
  readonly walTimeout: number;
  readonly label?: string;
}

export interface RestoreConfig {
  /** Keys that open encrypted objects. */
  readonly identities: readonly SecretSource[];
  /** Objects that are read at once. */
  readonly concurrency: number;
  /** Milliseconds for which `wal-fetch` tries again before it fails. */
  readonly walRetry: number;
}

/** What `wal-push` does with a segment that it cannot archive. */
export interface PushConfig {
  /** When the disk of `pg_wal` is about to fill; `drop` records a gap and lets it go. */
  readonly onFullDisk: 'keep' | 'drop';
  /** Bytes: with less space left the disk is about to fill. */
  readonly minFree: number;
}

export interface DrillConfig {
  /** Absolute path. */
  readonly folder?: string;
  /** Absolute path of the folder with the PostgreSQL programs. */
  readonly bin?: string;
  readonly user?: string;
  readonly role: string;
  readonly preload: readonly string[];
  readonly checks: readonly DrillCheckConfig[];
  readonly amcheck: boolean;
  /** Milliseconds without progress. */
  readonly timeout: number;
  readonly keep: boolean;
}

/** A statement that a restored cluster must answer. */
export interface DrillCheckConfig {
  readonly name?: string;
  readonly sql: string;
  readonly database: string;
  /** The first column of the first row, as text. */
  readonly expect?: string;
}

export interface ServeConfig {
  /** `host:port`, an IPv6 address in brackets. */
  readonly listen: string;
  /** Absolute paths. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly clientCa?: string };
  readonly token?: SecretSource;
  /** Absolute path; absent: that of the system for temporary files. */
  readonly folder?: string;
  /** Requests that are answered at once. */
  readonly maxRequests: number;
  /** Files that are read from the storage at once. */
  readonly maxFetches: number;
  /** Milliseconds in which a client takes nothing. */
  readonly stallTimeout: number;
}

export interface AgentConfig {
  /** Absolute path; absent: where the commands look by themselves. */
  readonly socket?: string;
  /** Absolute path. */
  readonly folder?: string;
  /** Segments at once. */
  readonly concurrency: number;
  /** Bytes. */
  readonly prefetch: number;
  /** Whether a `restore_command` asks it by the script `pgark-wal`; then there is a `socket`. */
  readonly script: boolean;
}

/** Something that `pgark run` does by itself. Times in milliseconds. */
export interface JobConfig {
  readonly name: string;
  readonly do: 'backup' | 'verify' | 'drill' | 'expire' | 'gc' | 'check';
  /** A cron expression, by the clock of `timeZone`. */
  readonly at: string;
  readonly timeZone: string;
  readonly jitter: number;
  /** How late it may begin; absent: until it is due again. */
  readonly window?: number;
  readonly timeout?: number;
  readonly label?: string;
  readonly level?: 'chain' | 'sample' | 'full';
}

/** The daemon, for all clusters of the file. Times in milliseconds. */
export interface DaemonConfig {
  /** `host:port`; absent: it answers nobody. */
  readonly listen?: string;
  /** Absolute paths. */
  readonly tls?: NonNullable<ServeConfig['tls']>;
  /** Names of hosts by which it may be asked, beside its own. */
  readonly names: readonly string[];
  readonly tokens: readonly { readonly name: string; readonly role: Role; readonly token: SecretSource }[];
  /** Of those who show a certificate of `tls.clientCa`. */
  readonly clientRole: Role;
  /** Whether metrics are for anybody. */
  readonly openMetrics: boolean;
  readonly refresh: number;
  readonly drain: number;
  readonly serveWal: boolean;
  readonly peers: readonly { readonly name: string; readonly url: string; readonly token?: SecretSource }[];
}

/** What somebody may do: an operator may all that a viewer may. */
export type Role = 'viewer' | 'operator';

/** Times in milliseconds; an absent one is never reached. */
export interface StatusConfig {
  /** Absolute path; absent: below the user's folder for caches. */
  readonly cache?: string;
  /** Absent: nothing is remembered. */
  readonly cacheAge?: number;
  readonly backupWarning?: number;
  readonly backupCritical?: number;
  readonly walWarning?: number;
  readonly walCritical?: number;
  readonly gaps: 'ignore' | 'warning' | 'critical';
}

/** What of it keeps a backup; of a {@link RetentionConfig} or of a label. */
export interface KeepConfig {
  /** Milliseconds. */
  readonly window?: number;
  readonly keep?: number;
  readonly hourly?: number;
  readonly daily?: number;
  readonly weekly?: number;
  readonly monthly?: number;
  readonly yearly?: number;
}

export interface RetentionConfig extends KeepConfig {
  readonly minimum: number;
  readonly proven: number;
  readonly wal: 'all' | 'consistent';
  /** The first that fits counts. */
  readonly labels: readonly (KeepConfig & { readonly label: string })[];
}

export interface HookConfig {
  /** In messages, and of the folder in which its events wait. */
  readonly name: string;
  readonly hook: PluginSection;
  /** Absent: every event. */
  readonly events?: readonly EventName[];
  /** The least that it is told of. */
  readonly severity: Severity;
  readonly policy: 'warn' | 'fail';
  /** Milliseconds in which the same is told once. */
  readonly quiet: number;
  /** Bytes of events that wait at most. */
  readonly spool: number;
  /** Milliseconds for one delivery. */
  readonly timeout: number;
  /** Further tries after a failed one. */
  readonly retries: number;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'auto' | 'json' | 'pretty';

export interface Config {
  /** Name of the cluster in the repository. */
  readonly cluster: string;
  /** Absent values come from the libpq environment. */
  readonly postgres: { readonly url?: SecretSource; readonly password?: SecretSource };
  readonly repositories: readonly RepositoryConfig[];
  readonly receive: ReceiveConfig;
  readonly backup: BackupConfig;
  readonly restore: RestoreConfig;
  readonly push: PushConfig;
  readonly drill: DrillConfig;
  readonly agent: AgentConfig;
  readonly serve: ServeConfig;
  readonly status: StatusConfig;
  /** The jobs of `pgark run`; empty: it does nothing by itself but receive. */
  readonly schedule: readonly JobConfig[];
  readonly daemon: DaemonConfig;
  /** Absent: nothing is ever removed. */
  readonly retention?: RetentionConfig;
  /** Threads for codecs. */
  readonly concurrency: number;
  readonly hooks: readonly HookConfig[];
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
}
