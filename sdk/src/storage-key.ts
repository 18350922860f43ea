import { ArchiveError } from 'pgark/contracts';

/** The longest key in bytes of UTF-8; S3 allows 1024, which leaves room for a prefix. */
const LONGEST_KEY = 900;

// \p{Surrogate} matches a lone one only: it has no UTF-8 form, so two such keys would become one.
const FORBIDDEN = /[\p{Control}\p{Surrogate}\\]/u;

/** Returns `key`, or throws `STORAGE_INVALID_KEY` when it is not a key that every storage can hold (STOR-01). */
export function checkKey(key: string): string {
  const fault = faultOf(key);
  if (fault === undefined) return key;
  throw new ArchiveError('STORAGE_INVALID_KEY', `the key ${JSON.stringify(key.slice(0, 200))} ${fault}`);
}

function faultOf(key: string): string | undefined {
  if (key === '') return 'is empty';
  if (FORBIDDEN.test(key)) return 'has a control character, a backslash or a broken surrogate pair';
  const bytes = Buffer.byteLength(key);
  if (bytes > LONGEST_KEY) return `is ${bytes} bytes long, more than ${LONGEST_KEY}`;
  for (const part of key.split('/')) {
    if (part === '') return 'has an empty part';
    if (part === '.' || part === '..') return `has the part "${part}"`;
  }
  return undefined;
}

/**
 * Orders keys by the bytes of their UTF-8 form (STOR-12): negative, 0 or positive.
 *
 * Plain comparison of strings goes by UTF-16 units, in which U+FF5E comes after U+1F600 though its bytes come before.
 */
export function compareKeys(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let position = 0; position < length; position++) {
    const difference = weight(left.charCodeAt(position)) - weight(right.charCodeAt(position));
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Swaps the ranges of the surrogates, which stand for the code points above U+FFFF, and of what lies behind them. */
function weight(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
