/** The header of an object: docs/reference/aes-gcm-format.md, "Layout". */
import { createHash } from 'node:crypto';
import { corrupt } from './corrupt.ts';
import type { PieceReader } from './piece-reader.ts';

const MAGIC = Buffer.from('pgarkgcm', 'latin1');
const VERSION = 1;

/** Bytes before the key id: magic, version, length of the id. */
const START_LENGTH = 10;

const WRAPPED_KEY_LENGTH = 40;
const CHECK_LENGTH = 8;

const KEY_ID = /^[A-Za-z0-9._-]{1,64}$/;

export interface Header {
  readonly keyId: string;
  readonly wrappedKey: Uint8Array;
  /** All of it, as it stands in the object: what the payload key is derived from. */
  readonly bytes: Uint8Array;
}

export function isKeyId(text: string): boolean {
  return KEY_ID.test(text);
}

export function makeHeader(keyId: string, wrappedKey: Uint8Array): Header {
  const id = Buffer.from(keyId, 'latin1');
  const before = Buffer.concat([MAGIC, Buffer.of(VERSION, id.byteLength), id, wrappedKey]);
  return { keyId, wrappedKey, bytes: Buffer.concat([before, checkOf(before)]) };
}

/** Reads the header off a stream. Errors: `CODEC_CORRUPT` for what is none, is damaged, or is of a later version. */
export async function readHeader(reader: PieceReader): Promise<Header> {
  const start = await reader.take(START_LENGTH);
  const magic = start.subarray(0, MAGIC.byteLength);
  if (!magic.equals(MAGIC.subarray(0, magic.byteLength))) {
    throw corrupt('the stream does not begin as one of the codec aes-gcm');
  }
  const version = start[MAGIC.byteLength];
  if (version !== undefined && version !== VERSION) throw unknownVersion(version);
  const idLength = start[START_LENGTH - 1];
  if (idLength === undefined) throw cutShort();
  const restLength = idLength + WRAPPED_KEY_LENGTH + CHECK_LENGTH;
  const rest = await reader.take(restLength);
  if (rest.byteLength < restLength) throw cutShort();

  const bytes = Buffer.concat([start, rest]);
  const before = bytes.subarray(0, -CHECK_LENGTH);
  const keyId = rest.toString('latin1', 0, idLength);
  if (!checkOf(before).equals(bytes.subarray(-CHECK_LENGTH)) || !isKeyId(keyId)) {
    throw corrupt('the header of the aes-gcm stream is damaged');
  }
  return { keyId, wrappedKey: before.subarray(-WRAPPED_KEY_LENGTH), bytes };
}

/** Finds damage without any key, so that it is not taken for a wrong key. What protects the header is the payload key. */
function checkOf(before: Uint8Array): Buffer {
  return createHash('sha256').update(before).digest().subarray(0, CHECK_LENGTH);
}

function cutShort(): Error {
  return corrupt('the aes-gcm stream ends within its header');
}

function unknownVersion(version: number): Error {
  return corrupt(
    `the aes-gcm stream is of version ${version} of the format, this codec reads version ${VERSION}`,
    'Upgrade pgark and @pgark/codec-aes-gcm; if no newer version wrote it, the object is damaged: read it from another repository.',
  );
}
