export { chainCodecs } from './codec/chain-codecs.ts';
export {
  CODEC_CLAUSES,
  CodecClauseContext,
  CodecClauseSkipped,
  describeCodec,
  runCodecClause,
  type CodecClause,
  type CodecKeys,
  type CodecSuiteOptions,
  type CodecTool,
} from './codec/describe-codec.ts';
export {
  HookClauseContext,
  HookClauseSkipped,
  type HookClause,
  type HookClauseOptions,
  type HookSuiteOptions,
} from './hook/clause.ts';
export { describeHook } from './hook/describe-hook.ts';
export { HOOK_CLAUSES } from './hook/hook-clauses.ts';
export {
  HttpHookReceiver,
  type HttpHookAnswer,
  type HttpHookReceiverOptions,
  type HttpHookRequest,
} from './hook/http-receiver.ts';
export type { HookBehaviour, HookDelivery, HookReceiver } from './hook/receiver.ts';
export { runHookClause, type HookClauseResult } from './hook/run-clause.ts';
export { describeStorage } from './storage/describe-storage.ts';
export {
  StorageClauseContext,
  StorageClauseSkipped,
  type BrokenPlaces,
  type SlowStorage,
  type StorageClause,
  type StorageSuiteOptions,
} from './storage/clause.ts';
export { Random } from './storage/random.ts';
export { runStorageClause, type StorageClauseResult } from './storage/run-clause.ts';
export { STORAGE_CLAUSES } from './storage/storage-clauses.ts';
export { testContext } from './test-context.ts';
