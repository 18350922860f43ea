/** pgark as a library: the same parts that the command line is made of. */
export * from './contracts/index.ts';
export { openArchive, targetOf, type Archive, type OpenArchiveOptions } from './archive.ts';
export {
  takeBackup,
  type BackupOptions,
  type BackupOutcome,
  type BackupProgress,
  type BackupResult,
} from './backup/backup.ts';
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
export { loadConfig, loadConfigs, type LoadedConfig, type LoadOptions } from './config/load.ts';
export { parseDuration, parseSize } from './config/units.ts';
export { runCopy, type CopiedBackup, type CopyProgress, type CopyResult, type RunCopyOptions } from './copy/copy.ts';
export type { CopyFailure } from './copy/failures.ts';
export {
  planCopy,
  type CopyOptions,
  type CopyPlan,
  type CopyWal,
  type PlannedBackup,
  type WalCount,
} from './copy/plan.ts';
export { drill, type DrillOptions, type DrillProgress, type DrillResult } from './drill/drill.ts';
export type { DrillCheck, DrillOutcome, DrillPhases, DrillReached, DrillRecord } from './drill/drill-result.ts';
export type { InstalledPlugin } from './plugins/discovery.ts';
export type { Events } from './plugins/events.ts';
export { Registry, type RegistryOptions } from './plugins/registry.ts';
export { receive, type ReceiveOptions, type ReceiveResult } from './receive/receive.ts';
export { Repository, type RepositoryOptions } from './repository/repository.ts';
export { planRestore, type PlanOptions } from './restore/plan.ts';
export type { PlanFolder, PlanProblem, PlanTablespace, PlanWal, RestorePlan } from './restore/plan-types.ts';
export { restore, type RestoreOptions, type RestoreProgress, type RestoreResult } from './restore/restore.ts';
export {
  parseTarget,
  parseTimeline,
  type RecoveryTarget,
  type TargetAction,
  type TargetInput,
  type TimelineChoice,
} from './restore/target.ts';
export { SharedLease, type SharedLeaseOptions } from './repository/shared-lease.ts';
export type { LeaseScope } from './repository/lease.ts';
export {
  planExpire,
  runExpire,
  type ExpireOptions,
  type ExpirePlan,
  type ExpireResult,
  type RunExpireOptions,
} from './retention/expire.ts';
export {
  planGarbage,
  runGarbage,
  type Garbage,
  type GarbageOptions,
  type GarbageResult,
  type RunGarbageOptions,
} from './retention/gc.ts';
export { changePin, type PinChange, type PinOptions } from './retention/pin.ts';
export { serveWal, type WalServer, type WalServerOptions } from './server/wal-server.ts';
export type { StorageCall } from './storage/observe.ts';
export { recordResults, verdictOf, type Verdict, type VerifyFact } from './verify/fact.ts';
export type { Finding, Problem, Skipped, Unrestorable, VerifyLevel } from './verify/finding.ts';
export { heal } from './verify/heal.ts';
export { FileJournal, type Journal, type JournalRun } from './verify/journal.ts';
export type { HealOptions, HealOutcome } from './verify/replace.ts';
export type { Checked } from './verify/report.ts';
export type { TimelineEnd, VerifiedSubject, VerifyResult } from './verify/result.ts';
export { verify, type VerifyOptions, type VerifyProgress } from './verify/verify.ts';
export { walFetch, type WalFetchOptions, type WalFetchResult } from './wal-command/fetch.ts';
export { fetchFromServer, type ServerFetchOptions, type ServerFetchResult } from './wal-command/fetch-from-server.ts';
export { walPush, type WalPushOptions, type WalPushResult } from './wal-command/push.ts';
export { VERSION } from './version.ts';
