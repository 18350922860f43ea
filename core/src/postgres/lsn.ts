/**
 * Log sequence numbers: byte positions in the WAL, a `bigint` here, two hexadecimal halves as text
 * (PostgreSQL docs, "pg_lsn Type"). Servers up to 18 print `%X/%X`, 19 prints `%X/%08X`: both are read.
 */
import { ArchiveError } from '../contracts/errors.ts';

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** Reads `16/B374D848`. Throws `USAGE` for anything else. */
export function parseLsn(text: string): bigint {
  const match = LSN_TEXT.exec(text.trim());
  if (match === null)
    throw new ArchiveError('USAGE', `not an LSN: "${text}"`, { hint: 'An LSN looks like 16/B374D848.' });
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** Writes an LSN the way servers 15 to 18 do. */
export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}
