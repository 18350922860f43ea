import { createHash, getFips } from 'node:crypto';
import { ArchiveError } from '@pgark/sdk';
import type { OpenReply } from './http-client.ts';

/** The header `Range` for the bytes from `start` up to but not including `end`; none for the whole object. */
export function rangeHeader(start: number, end: number | undefined): Record<string, string> {
  if (start === 0 && end === undefined) return {};
  return { range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
}

/**
 * The bytes of an answer, checked against the length that its head announces, and the MD5 where it is that of all the bytes.
 * Errors: `STORAGE_UNAVAILABLE` when it ends early, `STORAGE_CORRUPT` when the bytes are not those that were stored.
 */
export async function* checkedBytes(key: string, reply: OpenReply): AsyncGenerator<Uint8Array, void, undefined> {
  const expected = announcedLength(reply);
  const sum = reply.status === 200 ? announcedMd5(reply) : undefined;
  const md5 = sum === undefined || getFips() === 1 ? undefined : createHash('md5');
  let total = 0;
  for await (const chunk of reply.chunks()) {
    total += chunk.byteLength;
    md5?.update(chunk);
    yield chunk;
  }
  if (total !== expected) {
    throw new ArchiveError(
      'STORAGE_UNAVAILABLE',
      `reading ${key} failed: ${total} bytes came, ${expected ?? 'an unknown number'} were announced`,
    );
  }
  if (md5 !== undefined && md5.digest('base64') !== sum) {
    throw new ArchiveError('STORAGE_CORRUPT', `the bytes of ${key} are not those of its MD5 in the storage`);
  }
}

function announcedLength(reply: OpenReply): number | undefined {
  const { headers } = reply;
  const range = /^bytes (\d+)-(\d+)\/\d+$/.exec(headers['content-range'] ?? '');
  if (reply.status === 206 && range !== null) return Number(range[2]) - Number(range[1]) + 1;
  const length = headers['x-goog-stored-content-length'] ?? headers['content-length'];
  return typeof length === 'string' && /^\d+$/.test(length) ? Number(length) : undefined;
}

/** The header is `crc32c=...,md5=...`; a composed object has no MD5. */
function announcedMd5(reply: OpenReply): string | undefined {
  const header = reply.headers['x-goog-hash'];
  const sums = Array.isArray(header) ? header.join(',') : header;
  return typeof sums === 'string' ? /(?:^|,\s*)md5=([A-Za-z0-9+/=]+)/.exec(sums)?.[1] : undefined;
}
