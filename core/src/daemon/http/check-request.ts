/** What a request must look like before anything decodes or routes it. */
import type { IncomingMessage } from 'node:http';
import { METHODS } from './answers.ts';
import { refusal, type Refusal } from './refusal.ts';

/** Bytes of the target of a request. */
const LONGEST_TARGET = 4096;

/** Why a request is refused as it stands; undefined when it may go on. */
export function checkRequest(
  { method = '', url = '', headers }: Pick<IncomingMessage, 'method' | 'url' | 'headers'>,
  { isHost }: { readonly isHost: (header: string | undefined) => boolean },
): Refusal | undefined {
  if (!METHODS.includes(method)) return refusal('REQUEST_METHOD', `the method ${method.slice(0, 20)} is not answered`);
  if (!/^\/[\x21-\x7e]*$/.test(url) || url.includes('\\') || url.length > LONGEST_TARGET)
    return refusal('REQUEST_INVALID', 'the address of the request is not a path and a query');
  if (!isHost(headers.host)) return refusal('REQUEST_HOST', 'the header Host names none of the names of this daemon');
  const length = headers['content-length'];
  const body = headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
  if (body && method !== 'POST') return refusal('REQUEST_INVALID', `a ${method} has no body`);
  if (headers['content-encoding'] !== undefined) return refusal('REQUEST_TYPE', 'an encoded body is not read');
  try {
    decodeURIComponent(url.split('?', 1)[0] ?? '');
  } catch {
    return refusal('REQUEST_INVALID', 'the path is not percent-encoded UTF-8');
  }
  return undefined;
}
