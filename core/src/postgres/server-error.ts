/**
 * Errors of the server as {@link ArchiveError}s. Decided by SQLSTATE and by the routine that raised the error, never by its text:
 * `lc_messages` translates texts.
 */
import type { DatabaseError } from 'pg-protocol';
import { ArchiveError, type ArchiveErrorOptions, type ErrorCode } from '../contracts/errors.ts';

export interface ServerErrorContext {
  /** Who said it, `db1:5432`. */
  readonly host: string;
  /** The replication slot that the command used. */
  readonly slot?: string;
  /** Whether the command was START_REPLICATION. */
  readonly streaming?: boolean;
  /** Whether the server said it before the login was through. */
  readonly login?: boolean;
  /** What to do, when the caller knows better. */
  readonly hint?: string | undefined;
}

type ServerReport = Pick<DatabaseError, 'message' | 'code' | 'detail' | 'hint' | 'routine'>;

interface Meaning extends ArchiveErrorOptions {
  readonly code: ErrorCode;
}

/** Names what the server reported. The message holds the server's own text; `details` its SQLSTATE, detail and hint. */
export function serverError(error: ServerReport, context: ServerErrorContext): ArchiveError {
  const { code, ...options } = meaning(error, context);
  const slot = context.slot === undefined ? '' : ` (slot "${context.slot}")`;
  const detail = error.detail === undefined ? '' : ` (${error.detail})`;
  return new ArchiveError(code, `${context.host}${slot}: ${error.message}${detail}`, {
    ...options,
    ...(context.hint !== undefined && { hint: context.hint }),
    cause: error,
    details: {
      host: context.host,
      sqlstate: error.code,
      ...(context.slot !== undefined && { slot: context.slot }),
      ...(error.detail !== undefined && { detail: error.detail }),
      ...(error.hint !== undefined && { server_hint: error.hint }),
    },
  });
}

function meaning(error: ServerReport, context: ServerErrorContext): Meaning {
  // Later 42501 may also be a file that the server may not read.
  if (context.login && error.code === '42501') return { code: 'SERVER_AUTH' };
  return (
    (context.streaming && streamMeaning(error)) || (context.slot !== undefined && slotMeaning(error)) || general(error)
  );
}

/** Refusals of START_REPLICATION (PostgreSQL source: walsender.c, xlog.c, timeline.c). */
function streamMeaning(error: ServerReport): Meaning | undefined {
  if (error.code === '58P01' && (error.routine === 'WalSndSegmentOpen' || error.routine === 'CheckXLogRemoved')) {
    return { code: 'WAL_GAP' };
  }
  if (error.code === 'XX000' && (error.routine === 'StartReplication' || error.routine === 'tliSwitchPoint')) {
    return { code: 'TIMELINE_DIVERGED' };
  }
  return undefined;
}

/** Refusals of a slot (slot.c). */
function slotMeaning(error: ServerReport): Meaning | undefined {
  switch (error.code) {
    case '42704':
      return { code: 'SLOT_MISSING' };
    case '55006':
      return { code: 'SLOT_BUSY' };
    case '55000':
      return error.routine === 'ReplicationSlotAcquire' ? { code: 'SLOT_INVALIDATED' } : undefined;
    case '53400':
      return {
        code: 'SERVER_ERROR',
        hint: 'Raise max_replication_slots on the server, or drop a slot that is not used.',
      };
    default:
      return undefined;
  }
}

function general(error: ServerReport): Meaning {
  switch (error.code) {
    case '28000':
    case '28P01':
      return { code: 'SERVER_AUTH' };
    case '53300':
      return {
        code: 'SERVER_ERROR',
        retriable: true,
        hint: 'Raise max_wal_senders and max_connections on the server, or close connections that are not used.',
      };
    case '57P01': // the session was ended by an administrator
    case '57P02': // crash of another backend
    case '57P03': // starting up or shutting down
      return { code: 'SERVER_UNREACHABLE' };
    default:
      return { code: 'SERVER_ERROR' };
  }
}
