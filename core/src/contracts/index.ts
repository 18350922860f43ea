export {
  ArchiveError,
  ERRORS,
  errnoOf,
  isArchiveError,
  throwIfAborted,
  type ArchiveErrorOptions,
  type ErrorCode,
  type ErrorRow,
} from './errors.ts';
export type { Codec, CodecContext, KeyUse } from './codec.ts';
export { decodeThrough, encodeThrough } from './codec-chain.ts';
export { EVENT_NAMES, EVENTS, exampleEvent, makeEvent, type EventOrigin, type EventRow } from './event-table.ts';
export type {
  ArchiveEvent,
  ArchiveEvents,
  EventCondition,
  EventGate,
  EventName,
  EventSink,
  GateName,
  Hook,
  HookContext,
  Severity,
} from './hook.ts';
export {
  API_VERSION,
  type Clock,
  type Logger,
  type MetricLabels,
  type MetricSample,
  type Metrics,
  type OptionsSchema,
  type Plugin,
  type PluginContext,
  type PluginKind,
  type PluginKinds,
  type ValidationIssue,
  type ValidationResult,
} from './plugin.ts';
export {
  freeMemory,
  isLeased,
  leaseChunk,
  leaseMemory,
  leaseOwned,
  releaseChunk,
  takeMemory,
  type TakenMemory,
} from './lease.ts';
export { Secret } from './secret.ts';
export type {
  Attempt,
  CallOptions,
  GetOptions,
  ListOptions,
  LockAnswer,
  LockProof,
  ObjectInfo,
  PutOptions,
  PutStep,
  RemoveResult,
  RetainOptions,
  Storage,
  StorageCapabilities,
} from './storage.ts';
