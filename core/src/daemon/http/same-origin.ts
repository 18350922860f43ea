/** Where a request comes from, as browsers say it: what no page of another site can change. */

export interface OriginHeaders {
  readonly host: string | undefined;
  readonly origin: string | undefined;
  /** `Sec-Fetch-Site`, which browsers send over HTTPS and to this host itself. */
  readonly site: string | undefined;
  /** `Sec-Fetch-Mode` */
  readonly mode: string | undefined;
}

/** `own`: from a page of this daemon, or typed in by somebody. `silent`: nothing says so, as for programs and for old browsers. */
export type RequestOrigin = 'own' | 'other' | 'silent';

/**
 * Another port or another name of the same domain counts as another site: cookies are not told apart by ports. `Origin` is compared by host
 * and port alone, as behind a proxy that does TLS the scheme differs.
 */
export function requestOrigin({ host, origin, site }: OriginHeaders): RequestOrigin {
  if (site !== undefined) return site === 'same-origin' || site === 'none' ? 'own' : 'other';
  if (origin === undefined) return 'silent';
  const url = URL.parse(origin);
  return url !== null && url.host !== '' && url.host === host?.toLowerCase() ? 'own' : 'other';
}

/**
 * Whether a request may be answered. One that only reads may come as a link from elsewhere: the browser shows the answer and gives it to
 * nobody. What acts by what the browser sends by itself, a cookie or a certificate, must come from the page of this daemon for certain.
 */
export function isWelcome(
  headers: OriginHeaders,
  { acts, isPage, byBrowser }: { readonly acts: boolean; readonly isPage: boolean; readonly byBrowser: boolean },
): boolean {
  const from = requestOrigin(headers);
  if (from === 'own') return true;
  if (from === 'silent') return !acts || !byBrowser;
  return !acts && isPage && headers.mode === 'navigate';
}
