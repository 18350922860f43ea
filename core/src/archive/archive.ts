/** What an open archive does: everything that the command line does, which is made of it. */
import type { Config } from '../config/config.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { ReceiveResult } from '../receive/receive.ts';
import type { Scheduler } from '../schedule/run.ts';
import type { ReceiverState } from '../status/receiver-state.ts';
import type { WalFetchResult } from '../wal-command/fetch.ts';
import type { LetGoResult } from '../wal-command/let-go.ts';
import type { WalPushResult } from '../wal-command/push.ts';
import type { BackupCall, BackupDone } from './backup.ts';
import type { CheckCall, CheckDone } from './check.ts';
import type { ClientCommandCall } from './client-command.ts';
import type { CopyCall, CopyDone, CopyRunCall, PlannedCopy } from './copy.ts';
import type { DrillCall, DrillDone } from './drill.ts';
import type { ExpireCall, ExpireDone, PlanExpireCall, PlannedExpire } from './expire.ts';
import type { GarbageCall, GarbageDone, GarbageRunCall, PlannedGarbage } from './garbage.ts';
import type { KeysCall, KeysDone } from './keys.ts';
import type { BackupList, BackupsCall } from './list.ts';
import type { DrawnMap, MapCall } from './map.ts';
import type { HooksTried, TryHooksCall } from './try-hooks.ts';
import type { PinCall, PinDone, UnpinCall } from './pin.ts';
import type { ReceiveCall } from './receive.ts';
import type { PlannedRestore, PlanRestoreCall, RestoreCall, RestoreDone } from './restore.ts';
import type { RunList, RunsCall } from './runs.ts';
import type { SchedulerCall } from './schedule.ts';
import type { ServeCall, ServedWal } from './serve.ts';
import type { ShowCall, ShownBackup } from './show.ts';
import type { StatusCall, StatusDone } from './status.ts';
import type { VerifyCall, VerifyDone } from './verify.ts';
import type { WalFetchCall } from './wal-fetch.ts';
import type { WalPushCall } from './wal-push.ts';

/**
 * The archive of one cluster, as its config describes it.
 *
 * Every call can be cancelled by its `signal`: it then fails with `ABORTED`, and nothing half-done is visible. Calls may run side by side;
 * each tells the hooks of the config what happens, and takes the leases that keep others from removing what it uses. A call that comes to a
 * result gives it; what the result falls short of is its `failure`, which the command line ends with. All other failures are thrown, as an
 * `ArchiveError` with a `code`. Beside the errors that a call names there are those of opening what it needs: `PLUGIN_*`,
 * `SECRET_UNAVAILABLE`, `STORAGE_UNSUPPORTED`, and `USAGE` for a repository that the config does not name or an archive that was closed.
 */
export interface Archive {
  readonly config: Config;

  /**
   * Streams WAL from the server into the spool, and ships it into the repositories, until the signal fires or `until` is reached. An outage
   * of server or storage is waited for, and told as an event. It stops in order: flush, report, ship.
   *
   * Errors: `SPOOL_LOCKED`, `SPOOL_UNAVAILABLE`, `SPOOL_INVALID`, `SYSTEM_MISMATCH`, `TIMELINE_DIVERGED`, `SLOT_MISSING`, `SLOT_INVALIDATED`,
   * `WAL_GAP` (with `receive.onGap: stop`), and of the first connection `SERVER_AUTH`, `SERVER_TLS`, `SERVER_ERROR`, `SERVER_UNSUPPORTED`.
   */
  receive(call?: ReceiveCall): Promise<ReceiveResult>;

  /**
   * Takes a base backup of the server into the repositories, and extends the locks of what the kept backups need. It is there when this
   * returns, with the WAL that makes it consistent; what fails or is cancelled leaves objects that no listing takes for a backup, and that `gc` finds.
   *
   * `failure`: `REPOSITORY_BEHIND` when a repository does not have it, `BACKUP_SUSPECT` when the server found damaged pages, that of a
   * lock. Errors: `HOOK_FAILED` or `HOOK_REJECTED` when a hook refuses it at `backup.started`, `SERVER_*`, `STREAM_PROTOCOL`,
   * `REPOSITORY_NOT_FOUND` without `create`, `BACKUP_CORRUPT`, `BACKUP_WAL_TIMEOUT`, `USAGE`, those of the storage and its codecs.
   */
  backup(call?: BackupCall): Promise<BackupDone>;

  /**
   * Says whether a target can be reached, from which backup and over which WAL. Reads only.
   *
   * `failure`: the first problem of the plan. Errors: `RESTORE_UNREACHABLE` when nothing leads to the target, `BACKUP_NOT_FOUND`, `USAGE`, those of
   * the repositories.
   */
  planRestore(call?: PlanRestoreCall): Promise<PlannedRestore>;

  /**
   * Plans, and restores a data directory: the server that is started from it replays the WAL up to the target by itself. Until this returns no
   * server starts from the folder; after an interruption the same call resumes.
   *
   * `failure`: none. Errors: those of `planRestore`, its `failure`, `RESTORE_TARGET_IN_USE`, `RESTORE_FAILED`, `BACKUP_CORRUPT`.
   */
  restore(call: RestoreCall): Promise<RestoreDone>;

  /**
   * Archives one WAL file, as `archive_command` does: when this returns it is durable in every repository, or was let go as `push.onFullDisk`
   * allows.
   *
   * Errors: `WAL_INVALID`, `WAL_CONFLICT`, `SYSTEM_MISMATCH`, `REPOSITORY_BEHIND`, `STORAGE_UNAVAILABLE` after the time, those of the repositories.
   */
  walPush(call: WalPushCall): Promise<WalPushResult | LetGoResult>;

  /**
   * Puts one WAL file in place, whole and verified, as `restore_command` does. `missing` is an answer of every repository; any doubt is an error.
   *
   * Errors: `WAL_GAP` for a file that is missing although later ones exist, `USAGE`, those of the repositories.
   */
  walFetch(call: WalFetchCall): Promise<WalFetchResult>;

  /**
   * Lists the backups, with what is on record of each: verifications, drills, pins, gaps behind it.
   *
   * `failure`: of a repository that could not be read, or `BACKUP_NOT_FOUND` when none is complete. Errors: when no repository can be read, theirs.
   */
  backups(call?: BackupsCall): Promise<BackupList>;

  /**
   * Shows one backup, by its id or `latest`: its objects, and whether the WAL that it needs is there.
   *
   * `failure`: `WAL_NOT_FOUND` when it is not. Errors: `BACKUP_NOT_FOUND`, those of the repositories.
   */
  show(id: string, call?: ShowCall): Promise<ShownBackup>;

  /** Says which positions and moments the archive can be restored to, where it cannot, and why. Errors: those of all repositories. */
  map(call?: MapCall): Promise<DrawnMap>;

  /** The state of the cluster: receiver, server, archive, and what it comes to by the thresholds of the config. Errors: as `map`. */
  status(call?: StatusCall): Promise<StatusDone>;

  /** What the receiver of this host says of itself, from a small file beside the spool. It asks nobody. Errors: `ABORTED`. */
  receiver(call?: CallOptions): Promise<ReceiverState>;

  /**
   * Looks whether the repositories hold what was stored, and puts the result on record.
   *
   * `failure`: `VERIFY_DAMAGED`, `VERIFY_INCOMPLETE`, `BACKUP_NOT_FOUND`. Errors: `USAGE`, `CONFIG_INVALID` for a file of `resume`.
   */
  verify(call?: VerifyCall): Promise<VerifyDone>;

  /**
   * Says which backups and WAL the retention policy keeps and removes, each with its reason. Nothing is changed.
   *
   * `failure`: of a repository, or `BACKUP_NOT_FOUND` for something of `remove` that none has.
   */
  planExpire(call?: PlanExpireCall): Promise<PlannedExpire>;

  /**
   * Plans, and removes what the plan says. A hook with the policy `fail` may veto at `expire.planned`. What an interrupted run has begun is
   * finished by the next one.
   *
   * `failure`: as `planExpire`, and `RETENTION_BUSY`.
   */
  expire(call?: ExpireCall): Promise<ExpireDone>;

  /** Finds what no backup, WAL or running work accounts for, such as objects of a backup that was cancelled. Nothing is changed. */
  planGc(call?: GarbageCall): Promise<PlannedGarbage>;

  /** Removes what `planGc` finds and is older than `grace`. `failure`: `RETENTION_BUSY`, that of a repository. */
  gc(call?: GarbageRunCall): Promise<GarbageDone>;

  /**
   * Keeps a backup, by its id or `latest`, whatever the retention policy says, in every repository that has it.
   *
   * `failure`: of a repository. Errors: `BACKUP_NOT_FOUND`, `USAGE` for an end that has passed.
   */
  pin(id: string, call: PinCall): Promise<PinDone>;

  /** Takes the pin away: the policy decides again. As `pin`. */
  unpin(id: string, call?: UnpinCall): Promise<PinDone>;

  /** Says what `copy` would do. Reads only. `failure`: the first that cannot be copied. Errors: `USAGE`, `BACKUP_NOT_FOUND`, those of both repositories. */
  planCopy(call: CopyCall): Promise<PlannedCopy>;

  /**
   * Carries backups and their WAL from one repository into another; what is there already is kept and compared.
   *
   * `failure`: the first that could not be copied, or what ended the copy. Errors: as `planCopy`.
   */
  copy(call: CopyRunCall): Promise<CopyDone>;

  /**
   * Proves a backup: restores it into a folder of its own, starts it, checks it, removes it, and puts the result on record.
   *
   * `failure`: `DRILL_FAILED` when it is not proven, `DRILL_INCONCLUSIVE` when it could not be tried. Errors: `USAGE`, `RESTORE_TARGET_IN_USE`,
   * `RESTORE_UNREACHABLE`, `BACKUP_NOT_FOUND`.
   */
  drill(call?: DrillCall): Promise<DrillDone>;

  /** Tries the storages and looks at the server. `failure`: `CHECK_FAILED`, which names the checks. */
  check(call?: CheckCall): Promise<CheckDone>;

  /** Says for which keys the objects of the archive were written, and which of them open here. `failure`: `CODEC_KEY`, that of a repository. */
  keys(call?: KeysCall): Promise<KeysDone>;

  /**
   * Tells hooks of an example, each by itself and once, to see that the message arrives. `failure`: `HOOK_FAILED`, which names those that were not
   * told. Errors: `USAGE` without hooks, and for an unknown name.
   */
  tryHooks(call?: TryHooksCall): Promise<HooksTried>;

  /** Gives WAL over HTTP to hosts without access to the storage, until it is closed. Errors: `CONFIG_INVALID`, `SECRET_UNAVAILABLE`. */
  serve(call?: ServeCall): Promise<ServedWal>;

  /**
   * Runs the jobs of `schedule` of the config, until it is closed: while this is the one among all daemons of the cluster that has its lock, and
   * each moment of a job once. Its runs tell hooks and log as the calls of this archive do, with `run` in the fields of each line. What it cannot
   * do yet, as while the server cannot be asked, its `state` says; it goes on by itself. `call.signal` ends what runs, as the end of the archive does.
   *
   * Errors: those of opening what it needs.
   */
  openScheduler(call?: SchedulerCall): Promise<Scheduler>;

  /**
   * Lists the runs of jobs that are on record, newest first, as one over all repositories. `running`: no end is on record.
   *
   * `failure`: of a repository that could not be read, or of a record. Errors: when no repository can be read, theirs; `USAGE`.
   */
  runs(call?: RunsCall): Promise<RunList>;

  /** The `restore_command` for a host that asks such a server. Errors: `USAGE`. */
  clientCommand(call: ClientCommandCall): Promise<string>;

  /**
   * Ends the archive: calls that still run are cancelled and waited for, then everything is closed. No handle is left that would keep the
   * process alive. Later calls fail with `USAGE`; a second `close` waits for the first. Errors: the first failure of closing.
   */
  close(): Promise<void>;
}
