/**
 * The contract of a hook: something that is told of events. Each promise has an id.
 */

/** What is known of a subject: a state in small letters is a good one, but for `unknown`. */
interface State {
  readonly state: string;
  readonly message: string;
}

/** What failed, as an error tells it. */
interface Failure {
  readonly code: string;
  readonly message: string;
}

/** The closed list of events and what each carries. All of it is plain JSON; LSNs are text. What each means is in the table `EVENTS`. */
export interface ArchiveEvents {
  'receive.connected': { readonly host: string; readonly timeline: number; readonly lsn: string };
  'receive.disconnected': Failure;
  'receive.lag': State;
  'receive.stopped': { readonly lsn: string };
  'slot.state': State;
  'wal.timeline': { readonly from: number; readonly to: number; readonly lsn: string };
  'wal.shipped': { readonly file: string; readonly bytes: number };
  'wal.ship_failed': Failure & { readonly repository: string; readonly file: string };
  'wal.conflict': { readonly repository: string; readonly file: string; readonly message: string };
  'wal.gap': { readonly timeline: number; readonly from: string; readonly to: string; readonly reason: string };
  /** With a repository it is about shipping into it, else about the receiver. */
  'wal.state': State & { readonly repository?: string };
  'storage.degraded': Failure & { readonly repository: string };
  'storage.recovered': { readonly repository: string };
  /** `alone`: the receiver streams, it is the guardian alone that cannot look. */
  'guardian.state': State & { readonly subject: 'server' | 'leader' | 'archive'; readonly alone?: boolean };
  'guardian.acted': { readonly action: 'slot' | 'hole' | 'backup'; readonly message: string };
  'backup.started': { readonly id: string };
  /** `behind`: repositories that do not have it. */
  'backup.finished': {
    readonly id: string;
    readonly bytes: number;
    readonly suspect: boolean;
    readonly behind: readonly string[];
  };
  'backup.failed': Failure & { readonly id: string };
  'expire.planned': { readonly repository: string; readonly backups: readonly string[]; readonly bytes: number };
  /** `locked`: backups that go later, as the storage holds some of their objects under a lock. */
  'expire.finished': {
    readonly repository: string;
    readonly backups: readonly string[];
    readonly locked: readonly string[];
    readonly objects: number;
    readonly bytes: number;
  };
  'restore.finished': { readonly backup: string; readonly directory: string };
  'restore.failed': Failure & { readonly backup: string; readonly directory: string };
  /** `whole`: everything that the repository holds was read. */
  'verify.finished': { readonly repository: string; readonly level: string; readonly whole: boolean };
  /** `incomplete`: not everything could be looked at, and of that nothing is known. */
  'verify.failed': {
    readonly repository: string;
    readonly level: string;
    readonly outcome: 'damaged' | 'incomplete';
    readonly message: string;
  };
  'drill.finished': {
    readonly backup: string;
    readonly repository: string;
    readonly target: string;
    readonly lsn: string;
    readonly seconds: number;
  };
  /** `inconclusive` says nothing about the backup: the host of the drill is at fault. `backup` is empty where none could be chosen. */
  'drill.failed': {
    readonly backup: string;
    readonly repository: string;
    readonly outcome: 'failed' | 'inconclusive';
    readonly message: string;
  };
  /** `newest`: of the newest objects, as `pgark check` looks; `survey`: of all backups, as `pgark keys` does. */
  'key.unreadable': { readonly repository: string; readonly scope: 'newest' | 'survey'; readonly message: string };
  'key.readable': { readonly repository: string; readonly scope: 'newest' | 'survey' };
  /** `run` is its id, `job` the name of the job, `kind` the command that it is like. */
  'run.finished': {
    readonly run: string;
    readonly job: string;
    readonly kind: string;
    readonly message: string;
  };
  /** `interrupted`: its daemon ended meanwhile; `skipped`: it was due and did not begin. `code` is empty but for those that failed. */
  'run.failed': Failure & {
    readonly run: string;
    readonly job: string;
    readonly kind: string;
    readonly state: 'failed' | 'interrupted' | 'skipped';
  };
  /** Times are epoch milliseconds. */
  'hook.dropped': { readonly count: number; readonly since: number; readonly until: number };
}

export type EventName = keyof ArchiveEvents;

/** Events that come before the work that they announce: a hook with the policy `fail` may refuse it. */
export type GateName = 'backup.started' | 'expire.planned' | 'wal.gap';

/**
 * - `critical`: data is lost, damaged or unprotected, or may be soon; somebody has to act now.
 * - `warning`: something does not work, or could not be looked at.
 * - `info`: everything else.
 */
export type Severity = 'info' | 'warning' | 'critical';

/** A condition that lasts: one outage is one condition. Its events have one key. */
export interface EventCondition {
  /** Such as `receive`, `backup`, `storage:offsite`. One namespace for each cluster. */
  readonly key: string;
  readonly state: 'open' | 'closed';
  /** How many of its events were not told since the last that was, because they say the same. Absent when none. */
  readonly repeated?: number;
}

/** One event as a hook gets it. */
export interface ArchiveEvent<Name extends EventName = EventName> {
  /** Unique; the same for each try of a delivery, so that a receiver can tell a second delivery (a UUID). */
  readonly id: string;
  readonly name: Name;
  /** Epoch milliseconds. */
  readonly time: number;
  readonly cluster: string;
  /** Host name of the machine that reports it. */
  readonly host: string;
  readonly severity: Severity;
  /** One line for people, without the name of the cluster: `backup 20261129T010203Z-3f9a is complete, 4.2 GB`. */
  readonly summary: string;
  readonly condition?: EventCondition;
  readonly data: ArchiveEvents[Name];
}

export interface HookContext {
  /** Fires when the time for this delivery is over, or the process ends. */
  readonly signal: AbortSignal;
}

/**
 * - HOOK-01 `handle` resolves when the event is delivered and rejects when it is not; it does not retry.
 * - HOOK-02 After the signal fires nothing more is sent, and `handle` rejects soon.
 * - HOOK-03 A refusal that no further try can change is `HOOK_REJECTED` (not retriable); every other failure is `HOOK_FAILED` (retriable).
 * - HOOK-04 `handle` may be called again for an event that was delivered (at least once): `id` goes along wherever the protocol has a place
 *   for it.
 * - HOOK-05 Every event of the closed list is taken, also one of a later version: an unknown name is delivered by its `summary` or let
 *   pass, never thrown at.
 * - HOOK-06 Secrets of the options never show in an error, and text of events is data: it cannot change the message's structure (escaping,
 *   header or mention injection).
 * - HOOK-07 `close` may be called at any time, ends what is under way, and leaves no handle open.
 */
export interface Hook {
  handle(event: ArchiveEvent, context: HookContext): Promise<void>;
  close(): Promise<void>;
}

/** Where the parts of pgark report events. Never throws and never waits. */
export type EventSink = <Name extends EventName>(name: Name, data: ArchiveEvents[Name]) => void;

/** Reports an event before the work that it announces. Rejects when a hook refuses it: then the work is not begun. */
export type EventGate = <Name extends GateName>(name: Name, data: ArchiveEvents[Name]) => Promise<void>;
