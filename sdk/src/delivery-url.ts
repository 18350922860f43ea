import type { Secret } from 'pgark/contracts';

/**
 * What is wrong with the URL of a receiver of events, without a word of it, or undefined. Plain http is refused beyond this machine unless
 * `plain` allows it: whoever knows the URL of a chat's webhook can post with it.
 */
export function faultOfDeliveryUrl(url: Secret, options: { readonly plain?: boolean } = {}): string | undefined {
  const parsed = URL.parse(url.reveal());
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol))
    return 'must be a URL that begins with https://';
  if (parsed.protocol === 'https:' || options.plain === true || isLoopback(parsed.hostname)) return undefined;
  return 'must begin with https://: whoever sees the URL can use it';
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(?:\.\d+){3}$/.test(host);
}
