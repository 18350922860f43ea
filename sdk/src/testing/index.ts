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
