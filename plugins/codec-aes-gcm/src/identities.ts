import type { Secret } from '@pgark/sdk';
import { isKeyId } from './header.ts';
import { parseKey } from './keys.ts';

export interface Identities {
  readonly keys: readonly { readonly id: string; readonly bytes: Uint8Array }[];
  /** Lines that should be keys and are none, by their place; never with anything of the line. */
  readonly faults: readonly string[];
}

/**
 * The keys of this codec in the texts of `restore.identities`: lines `aes-gcm:<id>:<key>`. Other lines are comments, or the keys of other codecs.
 */
export function readIdentities(texts: readonly Secret[]): Identities {
  const keys: { id: string; bytes: Uint8Array }[] = [];
  const faults: string[] = [];
  for (const [index, text] of texts.entries()) {
    for (const [at, line] of text.reveal().split('\n').entries()) {
      const [kind, id = '', key = '', ...more] = line.trim().split(':');
      if (kind !== 'aes-gcm') continue;
      const bytes = parseKey(key);
      if (isKeyId(id) && bytes !== undefined && more.length === 0) keys.push({ id, bytes });
      else faults.push(`restore.identities[${index}], line ${at + 1}, is not of the form aes-gcm:<id>:<key>`);
    }
  }
  return { keys, faults };
}
