import type { ErrorCode } from '../../contracts/errors.ts';

/** Errors that are about what was asked for, or about what the archive holds for it: to ask again changes nothing. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  USAGE: 400,
  BACKUP_NOT_FOUND: 404,
  RUN_NOT_FOUND: 404,
  REPOSITORY_NOT_FOUND: 404,
  RUN_BUSY: 409,
  RETENTION_BUSY: 409,
  RESTORE_UNREACHABLE: 422,
  WAL_NOT_FOUND: 422,
  WAL_CONFLICT: 422,
  WAL_INVALID: 422,
  WAL_GAP: 422,
  BACKUP_CORRUPT: 422,
  STORAGE_CORRUPT: 422,
  CODEC_CORRUPT: 422,
  CODEC_UNKNOWN: 422,
  CODEC_KEY: 422,
  REPOSITORY_FORMAT: 422,
  INTERNAL: 500,
};

/** The status of an answer that tells an error. What is not about the request is about the surroundings: it may be asked again. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 503;
}
