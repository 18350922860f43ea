/** The header of an age file: who may open it, and the key of the file for each of them. The library makes it and reads it. */
import { createHmac, hkdfSync } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Decrypter, Encrypter, type Identity, type Recipient, type Stanza } from 'age-encryption';
import { ArchiveError, isArchiveError, throwIfAborted, type ByteReader } from '@pgark/sdk';
import { TAG } from './chunks.ts';
import { corrupt } from './corrupt.ts';

/** Bytes of the nonce between header and payload. */
export const NONCE = 16;

/** Most recipients of a file: with as many post-quantum ones a header has about 170 KB. */
export const MOST_RECIPIENTS = 100;

/** Most stanzas of a header that are read, with room for those that mean nothing: to try one takes up to 15 ms on this thread. */
const MOST_STANZAS = MOST_RECIPIENTS + 10;

/** Most bytes of a header that are read. */
const MOST_BYTES = 256 * 1024;

const LINE_FEED = 0x0a;
const VERSION = 'age-encryption.org/v1\n';
const STANZA = '-> ';
const END = '--- ';
/** Characters of a line of a stanza's body; a shorter one is its last, and it always has one. */
const COLUMNS = 64;
const ARMOR = '-----BEGIN AGE';

export interface FileHeader {
  readonly bytes: Uint8Array;
  /** The secret from which the key of the payload is derived. */
  readonly fileKey: Uint8Array;
}

/**
 * A header with a new file key, wrapped for each of the recipients. Errors: `PLUGIN_OPTIONS` for one that has the form of a recipient
 * and is no point of its curve that could be a key; those of recipients that are an `ArchiveError`.
 */
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
  const file = await encrypter.encrypt(new Uint8Array(0)).catch((cause: unknown) => {
    if (isArchiveError(cause)) throw cause;
    if (!isRefusal(cause)) throw failure('no age header could be made', cause);
    const [only] = recipients.length === 1 ? recipients : [];
    const whom = typeof only === 'string' ? `the recipient ${only.slice(0, 70)}` : 'one of the recipients';
    throw new ArchiveError('PLUGIN_OPTIONS', `age cannot encrypt for ${whom}, which is nobody's key`, {
      hint: 'Give codec age what "age-keygen -y" prints for a key file.',
      cause,
    });
  });
  return { bytes: file.slice(0, file.byteLength - NONCE - TAG), fileKey };
}

/** A header as it was read. Nothing of it is authenticated. */
export interface ReadHeader {
  readonly bytes: Uint8Array;
  /** The bytes of each stanza. */
  readonly stanzas: readonly Uint8Array[];
}

/**
 * Reads a header and nothing behind it, by the lines of the format (https://c2sp.org/age): what has many or long ones is refused before
 * keys are tried. Errors: `CODEC_CORRUPT` for what is none, or too large.
 */
export async function readHeader(source: ByteReader): Promise<ReadHeader> {
  const lines = [await readLine(source, VERSION.length)];
  const version = String(lines[0]);
  if (version !== VERSION) throw corrupt(...notAge(version));
  const stanzas: Uint8Array[][] = [];
  let left = MOST_BYTES - VERSION.length;
  let stanza: Uint8Array[] | undefined;
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
    if (stanza !== undefined) {
      if (line.byteLength > COLUMNS + 1) throw corrupt('the age header is damaged: a line is too long');
      stanza.push(line);
      if (line.byteLength <= COLUMNS) stanza = undefined;
    } else if (startsWith(line, END)) {
      return { bytes: Buffer.concat(lines), stanzas: stanzas.map((parts) => Buffer.concat(parts)) };
    } else {
      if (!startsWith(line, STANZA)) throw corrupt('the age header is damaged: a line is neither a stanza nor the end');
      if (stanzas.length === MOST_STANZAS) throw corrupt(`the age header has more than ${MOST_STANZAS} stanzas`);
      stanza = [line];
      stanzas.push(stanza);
    }
  }
}

function startsWith(line: Uint8Array, text: string): boolean {
  return String(line.subarray(0, text.length)) === text;
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
 * not, or not of the format; `ABORTED`; those of the identities that are an `ArchiveError`; `INTERNAL` for a failure that says nothing of
 * the header.
 */
export async function openHeader(
  header: ReadHeader,
  identities: readonly (string | Identity)[],
  signal?: AbortSignal,
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
  for (const identity of identities) {
    // Some of them calculate without a pause, for each stanza.
    decrypter.addIdentity({
      async unwrapFileKey() {
        await nextTurn();
        throwIfAborted(signal, 'opening an age header');
        return null;
      },
    });
    decrypter.addIdentity(identity);
  }
  decrypter.addIdentity({
    unwrapFileKey() {
      missed = true;
      return null;
    },
  });
  try {
    return { stanzas, fileKey: await decrypter.decryptHeader(header.bytes) };
  } catch (error) {
    if (missed) return { stanzas, fileKey: undefined };
    if (isArchiveError(error)) throw error;
    if (isRefusal(error)) throw corrupt('the age header is damaged', { cause: error });
    throw failure('an age header could not be opened', error);
  }
}

/** Of how many stanzas one of the identities has the key, in a header that one of them opened. */
export async function countOpened(
  header: ReadHeader,
  fileKey: Uint8Array,
  identities: readonly (string | Identity)[],
  signal?: AbortSignal,
): Promise<number> {
  let count = 0;
  for (const stanza of header.stanzas) {
    // The library does not say which stanza it opened: each is asked for in a header of its own.
    const opened = await openHeader(headerOf(stanza, fileKey), identities, signal).catch((error: unknown) => {
      if (isArchiveError(error, 'CODEC_CORRUPT')) return undefined; // nobody opens it
      throw error;
    });
    if (opened?.fileKey !== undefined) count++;
  }
  return count;
}

/** A header of one stanza that is as it was written. */
function headerOf(stanza: Uint8Array, fileKey: Uint8Array): ReadHeader {
  const start = Buffer.concat([Buffer.from(VERSION), stanza, Buffer.from(END.trimEnd())]);
  const key = new Uint8Array(hkdfSync('sha256', fileKey, '', 'header', 32));
  const mac = createHmac('sha256', key).update(start).digest('base64').replace(/=+$/, '');
  return { bytes: Buffer.concat([start, Buffer.from(` ${mac}\n`)]), stanzas: [stanza] };
}

/**
 * Whether the library refused what it was given. It throws plain errors for that, and Node an `OperationError` for a point that is of no
 * use; others, as for want of memory, say nothing of a header.
 */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && (error.name === 'Error' || error.name === 'OperationError');
}

function failure(what: string, cause: unknown): ArchiveError {
  return new ArchiveError('INTERNAL', `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
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
