/** The key of one object: made, wrapped by a key of the config, and the payload key that follows from it. */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto';
import { makeHeader, type Header } from './header.ts';

const KEY_LENGTH = 32;

/** AES key wrap, RFC 3394, with its default initial value. */
const KEY_WRAP = 'id-aes256-wrap';
const WRAP_IV = Buffer.alloc(8, 0xa6);

export interface SealedHeader {
  readonly header: Header;
  readonly payloadKey: KeyObject;
}

/** A header around a new object key, wrapped by `key`. */
export function newObjectKey(keyId: string, key: KeyObject): SealedHeader {
  const objectKey = randomBytes(KEY_LENGTH);
  const wrap = createCipheriv(KEY_WRAP, key, WRAP_IV);
  const header = makeHeader(keyId, Buffer.concat([wrap.update(objectKey), wrap.final()]));
  return { header, payloadKey: payloadKeyOf(objectKey, header) };
}

/** The payload key of an object; undefined when `key` is not the one that wrapped its object key. */
export function openObjectKey(header: Header, key: KeyObject): KeyObject | undefined {
  const unwrap = createDecipheriv(KEY_WRAP, key, WRAP_IV);
  let objectKey: Buffer;
  try {
    objectKey = Buffer.concat([unwrap.update(header.wrappedKey), unwrap.final()]);
  } catch {
    return undefined; // the integrity check of RFC 3394, the only way in which it fails
  }
  return payloadKeyOf(objectKey, header);
}

/** HKDF (RFC 5869) over the whole header: a changed header gives another key, with which no chunk opens. */
function payloadKeyOf(objectKey: Uint8Array, header: Header): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', objectKey, '', header.bytes, KEY_LENGTH)));
}
