import { createHmac } from 'node:crypto';
import type { Secret } from '@pgark/sdk';
import { inUrl } from './in-url.ts';

/** Bytes that Standard Webhooks asks for at least. */
export const LEAST_KEY = 24;

/** The bytes of a key: those that stand in base64 after `whsec_`, else the text itself. */
export function keyOf(secret: Secret): Buffer {
  const text = secret.reveal();
  return text.startsWith('whsec_') ? Buffer.from(text.slice('whsec_'.length), 'base64') : Buffer.from(text);
}

/**
 * The headers of Standard Webhooks 1.0. The id is that of the event in every delivery of it, the time that of this one. Signed is
 * `<id>.<time>.<body>`, with HMAC-SHA256.
 */
export function signatureHeaders(
  eventId: string,
  body: string,
  secrets: readonly Secret[],
  now: number = Date.now(),
): Record<string, string> {
  // An id with a dot in it would make two messages of one signature, and a very long one no header.
  const id = inUrl(eventId.slice(0, 200)).replaceAll('.', '%2E');
  const time = String(Math.floor(now / 1000));
  const signatures = secrets.map((secret) => {
    return `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${time}.${body}`).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': time,
    ...(signatures.length === 0 ? {} : { 'webhook-signature': signatures.join(' ') }),
  };
}
