/** The header of an age file: who may open it, and the key of the file for each of them. The library makes it and reads it. */
import { Decrypter, Encrypter, type Identity, type Recipient, type Stanza } from 'age-encryption';
import { isArchiveError, type ByteReader } from '@pgark/sdk';
import { TAG } from './chunks.ts';
import { corrupt } from './corrupt.ts';

/** Bytes of the nonce between header and payload. */
export const NONCE = 16;

/** Most recipients of a file: with as many post-quantum ones a header has about 170 KB. */
export const MOST_RECIPIENTS = 100;

/** Most bytes of a header that are read. */
const MOST_BYTES = 256 * 1024;

const LINE_FEED = 0x0a;
const VERSION = 'age-encryption.org/v1\n';
const END = '--- ';
const ARMOR = '-----BEGIN AGE';

export interface FileHeader {
  readonly bytes: Uint8Array;
  /** The secret from which the key of the payload is derived. */
  readonly fileKey: Uint8Array;
}

/** A header with a new file key, wrapped for each of the recipients. */
export async function makeHeader(recipients: readonly (string | Recipient)[]): Promise<FileHeader> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  let fileKey = new Uint8Array(0);
  // The library gives the file key to recipients only: one that adds nothing to the header gets to know it.
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = key.slice();
      return [];
    },
  });
  const file = await encrypter.encrypt(new Uint8Array(0));
  return { bytes: file.slice(0, file.byteLength - NONCE - TAG), fileKey };
}

/** Reads a header and nothing behind it. Errors: `CODEC_CORRUPT` for what is none, or too large. */
export async function readHeader(source: ByteReader): Promise<Uint8Array> {
  const lines = [await readLine(source, VERSION.length)];
  const version = String(lines[0]);
  if (version !== VERSION) throw corrupt(...notAge(version));
  let left = MOST_BYTES - VERSION.length;
  for (;;) {
    const line = await readLine(source, left);
    if (line.at(-1) !== LINE_FEED) {
      throw corrupt(
        line.byteLength === left
          ? `the age header has more than ${MOST_BYTES} bytes`
          : 'the age header ends before its end',
      );
    }
    lines.push(line);
    left -= line.byteLength;
    if (String(line.subarray(0, END.length)) === END) return Buffer.concat(lines);
  }
}

/** A line with its end; without it where the source ends before, or when the line has more than `most` bytes, which are then given. */
async function readLine(source: ByteReader, most: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let left = most; left > 0;) {
    const part = await source.nextThrough(LINE_FEED, left);
    if (part === undefined) break;
    parts.push(new Uint8Array(part));
    left -= part.byteLength;
    if (part.at(-1) === LINE_FEED) break;
  }
  return Buffer.concat(parts);
}

export interface OpenedHeader {
  readonly stanzas: readonly Stanza[];
  /** Undefined when none of the identities opens it. */
  readonly fileKey: Uint8Array | undefined;
}

/**
 * The key of the file, when one of the identities opens it. Then the header is as it was written. Errors: `CODEC_CORRUPT` when it is
 * not, or not of the format; those of the identities that are an `ArchiveError`.
 */
export async function openHeader(
  header: Uint8Array,
  identities: readonly (string | Identity)[],
): Promise<OpenedHeader> {
  let stanzas: readonly Stanza[] = [];
  let missed = false;
  const decrypter = new Decrypter();
  // The library says by a sentence alone what failed. Who was asked last knows that all before did not fail, but did not fit.
  decrypter.addIdentity({
    unwrapFileKey(found: Stanza[]) {
      stanzas = checkStanzas(found);
      return null;
    },
  });
  for (const identity of identities) decrypter.addIdentity(identity);
  decrypter.addIdentity({
    unwrapFileKey() {
      missed = true;
      return null;
    },
  });
  try {
    return { stanzas, fileKey: await decrypter.decryptHeader(header) };
  } catch (error) {
    if (missed) return { stanzas, fileKey: undefined };
    if (isArchiveError(error)) throw error;
    throw corrupt('the age header is damaged', { cause: error });
  }
}

function checkStanzas(stanzas: readonly Stanza[]): readonly Stanza[] {
  if (stanzas.length === 0) throw corrupt('the age header names no recipient');
  // Whoever knows the passphrase could otherwise have written what only the others seem to read: the format forbids it.
  if (stanzas.length > 1 && stanzas.some(({ args }) => args[0] === 'scrypt'))
    throw corrupt('the age header mixes a passphrase with recipients');
  return stanzas;
}

function notAge(line: string): [string, { readonly hint?: string }] {
  if (line.startsWith(ARMOR.slice(0, line.length)) && line.length >= ARMOR.length) {
    return ['this is an armored age file', { hint: 'Only binary files are read; "age --decrypt" reads both.' }];
  }
  if (/^age-encryption\.org\/v(?:[02-9]|1\d)/.test(line)) return ['this age file is of another version than 1', {}];
  return ['this is not an age file, or only the beginning of one', {}];
}
