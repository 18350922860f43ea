/** Where a recovery is to end, and what it does there. */
import { ArchiveError } from '../contracts/errors.ts';
import { formatLsn, parseLsn } from '../postgres/lsn.ts';
import { formatMoment, parseMoment } from './time-text.ts';

/** The end of the recovery. A time, LSN or transaction id is itself included unless `exclusive`. */
export type RecoveryTarget =
  | { readonly kind: 'latest' }
  /** The moment at which the backup is consistent. */
  | { readonly kind: 'immediate' }
  /** Microseconds since 1970. */
  | { readonly kind: 'time'; readonly micros: bigint; readonly exclusive: boolean }
  | { readonly kind: 'lsn'; readonly lsn: bigint; readonly exclusive: boolean }
  /** With or without the epoch in the upper half. */
  | { readonly kind: 'xid'; readonly xid: bigint; readonly exclusive: boolean }
  | { readonly kind: 'name'; readonly name: string };

/** Along which timeline: the newest of the archive, that of the backup, or this one. */
export type TimelineChoice = 'latest' | 'current' | number;

export type TargetAction = 'pause' | 'promote' | 'shutdown';

/** What an operator gave; texts as on the command line. */
export interface TargetInput {
  readonly time?: string | undefined;
  readonly lsn?: string | undefined;
  readonly xid?: string | undefined;
  readonly name?: string | undefined;
  /** `immediate` or `latest`. */
  readonly target?: string | undefined;
  readonly exclusive?: boolean | undefined;
}

/** PostgreSQL keeps 63 bytes of the name of a restore point. */
const MAX_NAME = 63;

/** Reads a target; nothing given means `latest`. Errors: `USAGE`. */
export function parseTarget(
  input: TargetInput,
  options?: { readonly now: number; readonly hostZone?: string },
): RecoveryTarget {
  const given = (['time', 'lsn', 'xid', 'name', 'target'] as const).filter((key) => input[key] !== undefined);
  if (given.length > 1)
    throw new ArchiveError('USAGE', `more than one target was given: ${given.join(', ')}`, {
      hint: 'A recovery has one end: keep one of them.',
    });
  const target = readTarget(input, options);
  if (input.exclusive === true && !('exclusive' in target))
    throw new ArchiveError('USAGE', `--exclusive has no meaning for the target ${describeTarget(target)}`, {
      hint: 'It belongs to a time, an LSN or a transaction id.',
    });
  return target;
}

function readTarget(
  { time, lsn, xid, name, target, exclusive = false }: TargetInput,
  options?: { readonly now: number; readonly hostZone?: string },
): RecoveryTarget {
  if (time !== undefined) return { kind: 'time', micros: parseMoment(time, options), exclusive };
  if (lsn !== undefined) return { kind: 'lsn', lsn: parseLsn(lsn), exclusive };
  if (xid !== undefined) {
    if (!/^\d{1,19}$/.test(xid) || BigInt(xid) < 3n)
      throw new ArchiveError('USAGE', `not a transaction id: "${xid}"`, {
        hint: 'Give what pg_current_xact_id() or txid_current() shows.',
      });
    return { kind: 'xid', xid: BigInt(xid), exclusive };
  }
  if (name !== undefined) {
    if (name === '' || Buffer.byteLength(name) > MAX_NAME)
      throw new ArchiveError('USAGE', `the name of a restore point has 1 to ${MAX_NAME} bytes: "${name}"`, {
        hint: 'Give the name that pg_create_restore_point() was called with.',
      });
    return { kind: 'name', name };
  }
  if (target !== undefined && target !== 'immediate' && target !== 'latest')
    throw new ArchiveError('USAGE', `not a target: "${target}"`, {
      hint: 'Use "immediate" or "latest", or one of --target-time, --target-lsn, --target-xid, --target-name.',
    });
  return { kind: target ?? 'latest' };
}

/** Reads `latest`, `current` or a number, decimal or as in file names (`0x1A`). Errors: `USAGE`. */
export function parseTimeline(text: string): TimelineChoice {
  if (text === 'latest' || text === 'current') return text;
  const number = /^(?:\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= 0xffffffff) return number;
  throw new ArchiveError('USAGE', `not a timeline: "${text}"`, { hint: 'Use a number, "latest" or "current".' });
}

/** For people: `time 2026-11-21 06:00:00+00`. */
export function describeTarget(target: RecoveryTarget): string {
  const before = 'exclusive' in target && target.exclusive ? ' (exclusive)' : '';
  switch (target.kind) {
    case 'time':
      return `time ${formatMoment(target.micros)}${before}`;
    case 'lsn':
      return `LSN ${formatLsn(target.lsn)}${before}`;
    case 'xid':
      return `transaction ${target.xid}${before}`;
    case 'name':
      return `restore point "${target.name}"`;
    case 'immediate':
      return 'immediate (the end of the backup)';
    case 'latest':
      return 'latest (the end of the archive)';
  }
}
