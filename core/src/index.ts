/** pgark as a library: `openArchive` is the door to everything, and the command line goes through it too. */
export * from './contracts/index.ts';
export { openArchive, type OpenArchiveOptions } from './archive/open.ts';
export type { Archive } from './archive/archive.ts';
export type { BackupCall, BackupDone } from './archive/backup.ts';
export type { ChosenRepositories, LongCall, Outcome } from './archive/call.ts';
export type { CheckCall, CheckDone } from './archive/check.ts';
export type { ClientCommandCall } from './archive/client-command.ts';
export type { CopyCall, CopyDone, CopyRunCall, PlannedCopy } from './archive/copy.ts';
export type { ListingProgress } from './archive/draw-map.ts';
export type { DrillCall, DrillDone } from './archive/drill.ts';
export type { ExpireCall, ExpireDone, PlanExpireCall, PlannedExpire, RemovalProgress } from './archive/expire.ts';
export type { LockProgress } from './archive/extend-locks.ts';
export type { GarbageCall, GarbageDone, GarbageRunCall, PlannedGarbage, RepositoryGarbage } from './archive/garbage.ts';
export type { KeysCall, KeysDone, RepositoryKeys } from './archive/keys.ts';
export type { BackupList, BackupsCall, ListedBackup } from './archive/list.ts';
export type { DrawnMap, MapCall } from './archive/map.ts';
export type { PinCall, PinDone, UnpinCall } from './archive/pin.ts';
export type { ReceiveCall } from './archive/receive.ts';
export type {
  PlannedRestore,
  PlanRestoreCall,
  RestoreCall,
  RestoreCallProgress,
  RestoreDone,
} from './archive/restore.ts';
export type { RunList, RunsCall } from './archive/runs.ts';
export type { SchedulerCall } from './archive/schedule.ts';
export type { ServeCall, ServedWal } from './archive/serve.ts';
export type { ShowCall, ShownBackup } from './archive/show.ts';
export type { StatusCall, StatusDone } from './archive/status.ts';
export type { HooksTried, TriedHook, TryHooksCall } from './archive/try-hooks.ts';
export type { Verification, VerifyCall, VerifyDone } from './archive/verify.ts';
export type { WalFetchCall } from './archive/wal-fetch.ts';
export type { WalPushCall } from './archive/wal-push.ts';
export type { BackupOutcome, BackupProgress, BackupResult } from './backup/backup.ts';
export type { Finding as CheckFinding } from './check/finding.ts';
export type {
  BackupConfig,
  Config,
  DrillCheckConfig,
  DrillConfig,
  GuardianConfig,
  HookConfig,
  KeepConfig,
  LogFormat,
  LogLevel,
  PluginSection,
  ReceiveConfig,
  RepositoryConfig,
  RestoreConfig,
  RetentionConfig,
  SecretSource,
  ServeConfig,
} from './config/config.ts';
export type { ConfigSetting, Origin } from './config/explain.ts';
export {
  loadConfig,
  loadConfigs,
  type ConfigValue,
  type LoadedConfig,
  type LoadOptions,
  type PluginValue,
  type RepositoryValue,
  type SecretValue,
} from './config/load.ts';
export { parseDuration, parseSize } from './config/units.ts';
export type { CopiedBackup, CopyProgress, CopyResult } from './copy/copy.ts';
export type { CopyFailure } from './copy/failures.ts';
export type { CopyPlan, CopyWal, PlannedBackup, WalCount } from './copy/plan.ts';
export type { DrillProgress, DrillResult } from './drill/drill.ts';
export type { DrillCheck, DrillOutcome, DrillPhases, DrillReached, DrillRecord } from './drill/drill-result.ts';
export type { RecoveryMap, SystemMap } from './map/recovery-map.ts';
export type { HookDelivery } from './hooks/courier.ts';
export type { HookBacklog } from './hooks/hook-backlog.ts';
export { formatLsn, parseLsn } from './postgres/lsn.ts';
export type { ReceiveResult } from './receive/receive.ts';
export type { BackupRecord } from './repository/backup-record.ts';
export type { BackupEntry } from './repository/backups.ts';
export type { RepositoryFailure } from './repository/repository-failure.ts';
export type { PlanFolder, PlanProblem, PlanTablespace, PlanWal, RestorePlan } from './restore/plan-types.ts';
export type { Setting } from './restore/recovery-settings.ts';
export type { RestoreProgress, RestoreResult } from './restore/restore.ts';
export type { ScheduleClock } from './schedule/clock.ts';
export type {
  ActiveRun,
  JobKind,
  PlannedRun,
  Run,
  RunLine,
  RunRequest,
  RunSink,
  RunState,
  Scheduler,
  SchedulerState,
  Trigger,
} from './schedule/run.ts';
export type { TargetAction, TargetInput, TimelineChoice } from './restore/target.ts';
export type { ExpirePlan, ExpireResult } from './retention/expire.ts';
export type { Garbage, GarbageResult } from './retention/gc.ts';
export type { ClusterStatus } from './status/cluster-status.ts';
export type { Judgement } from './status/judge.ts';
export type { SpoolState } from './status/spool-state.ts';
export type { StorageCall } from './storage/observe.ts';
export type { Finding, Problem, Skipped, Unrestorable, VerifyLevel } from './verify/finding.ts';
export type { HealOutcome } from './verify/replace.ts';
export type { TimelineEnd, VerifiedSubject, VerifyResult } from './verify/result.ts';
export type { VerifyProgress } from './verify/verify.ts';
export type { WalFetchResult } from './wal-command/fetch.ts';
export { fetchFromServer, type ServerFetchOptions, type ServerFetchResult } from './wal-command/fetch-from-server.ts';
export type { LetGoResult } from './wal-command/let-go.ts';
export type { WalPushResult } from './wal-command/push.ts';
export { VERSION } from './version.ts';
