import { ArchiveError, type ErrorCode } from '../contracts/errors.ts';

/** Errors that end the receiver whenever they come, unless they say that a retry can help. */
const FATAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'SYSTEM_MISMATCH',
  'TIMELINE_DIVERGED',
  'WAL_GAP',
  'WAL_INVALID',
  'SLOT_MISSING',
  'SLOT_INVALIDATED',
  'SPOOL_INVALID',
  'SERVER_UNSUPPORTED',
  'CONFIG_INVALID',
  'INTERNAL',
]);

/**
 * Whether the receiver connects again after an error. What the server says of its WAL and of the slot leads to another start
 * (the table in start-position.ts). What only configuration can mend ends a receiver that has never streamed; one that has
 * goes on trying, since the server may be in the hands of its operator.
 */
export function canGoOn(
  error: ArchiveError,
  { streamed, createSlot }: { readonly streamed: boolean; readonly createSlot: boolean },
): boolean {
  if (error.retriable) return true;
  const saidByServer = error.details['sqlstate'] !== undefined;
  if (saidByServer && error.code === 'WAL_GAP') return true;
  if (saidByServer && (error.code === 'SLOT_INVALIDATED' || error.code === 'SLOT_MISSING')) return createSlot;
  return streamed && !FATAL.has(error.code);
}

/** The same error, of which a retry may be the end. */
export function retriable(error: ArchiveError): ArchiveError {
  return new ArchiveError(error.code, error.message, { retriable: true, cause: error, details: error.details });
}
