/** Why a request is refused, beside the errors of the archive. */

/** Codes are never renamed and never reused. */
export type RefusalCode =
  | 'REQUEST_INVALID'
  | 'REQUEST_UNAUTHENTICATED'
  | 'REQUEST_FORBIDDEN'
  | 'REQUEST_CROSS_SITE'
  | 'REQUEST_NOT_FOUND'
  | 'REQUEST_METHOD'
  | 'REQUEST_TOO_LARGE'
  | 'REQUEST_TYPE'
  | 'REQUEST_HOST'
  | 'REQUEST_TOO_MANY'
  | 'DAEMON_BUSY'
  | 'DAEMON_LOOKING';

const TABLE: Readonly<Record<RefusalCode, readonly [status: number, hint: string]>> = {
  REQUEST_INVALID: [400, 'GET /api/v1/openapi.json says what each route takes.'],
  REQUEST_UNAUTHENTICATED: [
    401,
    'Send a token of daemon.tokens as "Authorization: Bearer TOKEN", or show a certificate of daemon.tls.clientCa.',
  ],
  REQUEST_FORBIDDEN: [403, 'Use the token or certificate of an operator.'],
  REQUEST_CROSS_SITE: [403, 'Ask from the page of this daemon itself, or with a token and without a browser.'],
  REQUEST_NOT_FOUND: [404, 'GET /api/v1/openapi.json lists the routes, GET /api/v1/clusters the clusters.'],
  REQUEST_METHOD: [405, 'Use a method that the header Allow names.'],
  REQUEST_TOO_LARGE: [413, 'A body has at most 64 KiB.'],
  REQUEST_TYPE: [415, 'Send JSON, with the header "Content-Type: application/json".'],
  REQUEST_HOST: [421, 'Use an address of this host or a name of its certificate, or add the name to daemon.names.'],
  REQUEST_TOO_MANY: [429, 'Too many tokens from this address were wrong: wait a second, and check the token.'],
  DAEMON_BUSY: [503, 'So many requests are under way: ask again in a moment.'],
  DAEMON_LOOKING: [503, 'The daemon has not looked at the cluster yet: ask again in a moment.'],
};

/** What a refused request is answered with. */
export interface Refusal {
  readonly code: RefusalCode;
  readonly status: number;
  readonly message: string;
  readonly hint: string;
}

/** All of them, for the reference. */
export const REFUSALS: readonly Omit<Refusal, 'message'>[] = Object.entries(TABLE).map(([code, [status, hint]]) => ({
  code: code as RefusalCode,
  status,
  hint,
}));

const MADE = new WeakSet<object>();

export function refusal(code: RefusalCode, message: string): Refusal {
  const [status, hint] = TABLE[code];
  const made = { code, status, message, hint };
  MADE.add(made);
  return made;
}

/** Whether a value, such as what a route gives, is a refusal. */
export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && MADE.has(value);
}
