/** JSON objects that carry a digest of themselves: `backup.json`, the marker and facts, of which nothing else in a repository knows the content. */
import { createHash } from 'node:crypto';

/** The key of the digest, always the last one. */
const KEY = 'sha256';

/** The bytes of a JSON object with the SHA-256 of its text without that digest as the last key, `sha256`. */
export function sealed(value: object): Uint8Array {
  const content = { ...value, [KEY]: undefined };
  return Buffer.from(textOf({ ...content, [KEY]: sha256(textOf(content)) }));
}

/** A value that was read, without its digest. */
export function withoutSeal<Value extends object>(value: Value): Omit<Value, typeof KEY> {
  const { [KEY]: _, ...content } = value as Value & { readonly [KEY]?: unknown };
  return content;
}

export interface SealCheck {
  /** Whether it carries a digest: objects from before there was one do not, and what was altered in them may not show. */
  readonly sealed: boolean;
  /** What is wrong, for people: `does not match its own SHA-256`. */
  readonly fault: string | undefined;
}

/** Whether the bytes are just those that pgark wrote: in its one form, and with the digest that they carry, if any. */
export function checkSeal(bytes: Uint8Array): SealCheck {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return { sealed: false, fault: 'is not JSON' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { sealed: false, fault: 'is not a JSON object' };
  const isSealed = Object.hasOwn(value, KEY);
  if (Buffer.compare(bytes, Buffer.from(textOf(value))) !== 0)
    return { sealed: isSealed, fault: 'is not in the form in which it was written' };
  const matches = !isSealed || Buffer.compare(bytes, sealed(value)) === 0;
  return { sealed: isSealed, fault: matches ? undefined : 'does not match its own SHA-256' };
}

/** The one form of such an object: what `jq .` prints. */
function textOf(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
