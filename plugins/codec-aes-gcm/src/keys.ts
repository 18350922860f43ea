/** Keys as they are written in the config. */
import type { Secret } from '@pgark/sdk';
import { isKeyId } from './header.ts';

export interface AesGcmKey {
  /** 1 to 64 letters, digits, `.`, `_`, `-`. It stands in the clear in every object. */
  readonly id: string;
  /** 32 bytes as base64 or hexadecimal digits. */
  readonly key: Secret;
}

/** What is wrong with one of the keys. The message never holds any of a key. */
export interface KeyProblem {
  readonly path: readonly [number, 'id' | 'key'];
  readonly message: string;
}

const MAKE_ONE = 'make one with "openssl rand -base64 32"';

/** What is wrong with a list of keys; empty when nothing is. */
export function keyProblems(keys: readonly AesGcmKey[]): readonly KeyProblem[] {
  const ids = keys.map(({ id }) => id);
  const values = keys.map(({ key }) => parseKey(key.reveal()));
  return keys.flatMap(({ id }, at): KeyProblem[] => {
    const found = [
      { path: [at, 'id'] as const, message: idProblem(id, ids.indexOf(id), at) },
      { path: [at, 'key'] as const, message: valueProblem(values[at], values, at) },
    ];
    return found.flatMap(({ path, message }) => (message === undefined ? [] : [{ path, message }]));
  });
}

function idProblem(id: string, first: number, at: number): string | undefined {
  if (!isKeyId(id)) return 'must be 1 to 64 letters, digits, ".", "_" or "-"';
  return first < at ? `is the same as that of keys[${first}]: every key has an id of its own` : undefined;
}

function valueProblem(
  bytes: Buffer | undefined,
  values: readonly (Buffer | undefined)[],
  at: number,
): string | undefined {
  if (bytes === undefined) return `must be 32 bytes, as base64 or as 64 hexadecimal digits; ${MAKE_ONE}`;
  if (bytes.every((byte) => byte === bytes[0])) return `must be random: all its bytes are the same; ${MAKE_ONE}`;
  const first = values.findIndex((value) => value?.equals(bytes) === true);
  return first < at ? `is the same as that of keys[${first}]: every id has a key of its own` : undefined;
}

/** The 32 bytes that a text stands for; undefined when it does not. White space around it means nothing. */
export function parseKey(text: string): Buffer | undefined {
  const digits = text.trim();
  if (/^[0-9A-Fa-f]{64}$/.test(digits)) return Buffer.from(digits, 'hex');
  // Both alphabets of RFC 4648; 32 bytes are 43 digits, of which the last has two bits that stand for nothing.
  if (/^[A-Za-z0-9+/_-]{42}[AEIMQUYcgkosw048]=?$/.test(digits)) return Buffer.from(digits, 'base64');
  return undefined;
}
