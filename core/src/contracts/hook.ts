/**
 * The contract of a hook: something that is told of events. Each promise has an id.
 */

/** The closed list of events and what each carries. All of it is plain JSON; LSNs are text. */
export interface ArchiveEvents {
  'receive.connected': { readonly host: string; readonly timeline: number; readonly lsn: string };
  'receive.disconnected': { readonly code: string; readonly message: string };
  'receive.stopped': { readonly lsn: string };
  'wal.timeline': { readonly from: number; readonly to: number; readonly lsn: string };
  'wal.shipped': { readonly file: string; readonly bytes: number };
  'wal.ship_failed': { readonly file: string; readonly code: string; readonly message: string };
  'wal.conflict': { readonly file: string; readonly message: string };
  'wal.gap': { readonly timeline: number; readonly from: string; readonly to: string; readonly reason: string };
  'wal.state': { readonly state: string; readonly message: string };
  /** What the guardian knows of `subject` (`server`, `slot`, `lag`, `leader`, `archive`) has changed. A state in small letters is a good one,
   * but for `unknown`. */
  'guardian.state': { readonly subject: string; readonly state: string; readonly message: string };
  /** The guardian did something: `slot`, `hole`, `backup`. */
  'guardian.acted': { readonly action: string; readonly message: string };
  'backup.started': { readonly id: string };
  'backup.finished': { readonly id: string; readonly bytes: number; readonly suspect: boolean };
  'backup.failed': { readonly id: string; readonly code: string; readonly message: string };
  /** `pgark expire --confirm` is about to remove this from a repository; a hook with the policy `fail` that fails keeps it from doing so. */
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
  /** The backup is proven: it was restored up to `lsn` and passed all checks. */
  'drill.finished': {
    readonly backup: string;
    readonly repository: string;
    readonly target: string;
    readonly lsn: string;
    readonly seconds: number;
  };
  /** `inconclusive` says nothing about the backup: the host of the drill is at fault. */
  'drill.failed': {
    readonly backup: string;
    readonly repository: string;
    readonly outcome: 'failed' | 'inconclusive';
    readonly message: string;
  };
}

export type EventName = keyof ArchiveEvents;

/** One event as a hook gets it. */
export interface ArchiveEvent<Name extends EventName = EventName> {
  readonly name: Name;
  /** Epoch milliseconds. */
  readonly time: number;
  readonly cluster: string;
  readonly data: ArchiveEvents[Name];
}

export interface HookContext {
  readonly signal: AbortSignal;
}

/**
 * - HOOK-01 `handle` resolves when the event is delivered and rejects when it is not; it does not retry.
 * - HOOK-02 After the signal fires nothing more is sent.
 */
export interface Hook {
  handle(event: ArchiveEvent, context: HookContext): Promise<void>;
  close(): Promise<void>;
}

/** Where the parts of pgark report events. Never throws and never waits. */
export type EventSink = <Name extends EventName>(name: Name, data: ArchiveEvents[Name]) => void;
