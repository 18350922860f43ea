import { ArchiveError, errnoOf, type ErrorCode } from '@pgark/sdk';

/** What the depot answers when it refuses, as an error of pgark. What is not here may pass. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  'unknown-token': 'STORAGE_DENIED',
  forbidden: 'STORAGE_DENIED',
  full: 'STORAGE_FULL',
  'no-bucket': 'STORAGE_MISCONFIGURED',
  'no-such-request': 'STORAGE_MISCONFIGURED',
  'no-object': 'STORAGE_NOT_FOUND',
  exists: 'STORAGE_EXISTS',
};

const HINTS: Readonly<Record<string, string>> = {
  'unknown-token': 'Check "token" in the config: the depot does not know it.',
  forbidden: 'Give the token the right to this bucket, in the depot.',
  'no-bucket': 'Check "bucket" in the config, or make the bucket.',
};

/** The error for an answer that is a refusal. An answer without the depot's own header comes from something in between. */
export function refusalError(response: Response, what: string): ArchiveError {
  const reason = response.headers.get('depot-error');
  if (reason === null) {
    const code = response.status >= 500 || response.status === 429 ? 'STORAGE_UNAVAILABLE' : 'STORAGE_MISCONFIGURED';
    return new ArchiveError(code, `${what} failed: something that is no depot answered ${response.status}`, {
      hint: 'Check "url" in the config, and what stands in front of the depot.',
    });
  }
  const hint = HINTS[reason];
  return new ArchiveError(CODES[reason] ?? 'STORAGE_UNAVAILABLE', `${what} failed: the depot says ${reason}`, {
    details: { status: response.status, reason },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Complaints about a certificate do not pass. */
const TLS_ERROR = /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

/** The error for a request that got no whole answer. `fetch` tells the reason in the cause. */
export function connectionError(error: unknown, what: string): ArchiveError {
  const { cause } = error as { cause?: unknown };
  const reason = errnoOf(cause) ?? errnoOf(error) ?? 'the connection was lost';
  const code = TLS_ERROR.test(reason) ? 'STORAGE_MISCONFIGURED' : 'STORAGE_UNAVAILABLE';
  return new ArchiveError(code, `${what} failed: ${reason}`, { cause: error });
}
