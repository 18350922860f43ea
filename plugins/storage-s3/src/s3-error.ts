import { ArchiveError, errnoOf, isArchiveError, type ErrorCode } from '@pgark/sdk';

/** What a request was about: S3 says 404 for a missing key and for a missing bucket. */
export type Subject = 'object' | 'bucket';

/** Codes of S3 and of services that speak it. What is not here goes by the HTTP status. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  NoSuchKey: 'STORAGE_NOT_FOUND',
  PreconditionFailed: 'STORAGE_EXISTS',
  NoSuchBucket: 'STORAGE_MISCONFIGURED',
  InvalidBucketName: 'STORAGE_MISCONFIGURED',
  PermanentRedirect: 'STORAGE_MISCONFIGURED',
  AuthorizationHeaderMalformed: 'STORAGE_MISCONFIGURED',
  IllegalLocationConstraintException: 'STORAGE_MISCONFIGURED',
  InvalidObjectState: 'STORAGE_MISCONFIGURED',
  NotImplemented: 'STORAGE_MISCONFIGURED',
  InvalidRange: 'STORAGE_INVALID_KEY',
  KeyTooLongError: 'STORAGE_INVALID_KEY',
  InvalidURI: 'STORAGE_INVALID_KEY',
  AccessDenied: 'STORAGE_DENIED',
  InvalidAccessKeyId: 'STORAGE_DENIED',
  SignatureDoesNotMatch: 'STORAGE_DENIED',
  // versitygw says it with status 404.
  XAdminUserNotFound: 'STORAGE_DENIED',
  ExpiredToken: 'STORAGE_DENIED',
  ExpiredTokenException: 'STORAGE_DENIED',
  InvalidToken: 'STORAGE_DENIED',
  TokenRefreshRequired: 'STORAGE_DENIED',
  CredentialsProviderError: 'STORAGE_DENIED',
  TokenProviderError: 'STORAGE_DENIED',
  QuotaExceeded: 'STORAGE_FULL',
  InsufficientStorage: 'STORAGE_FULL',
  StorageFull: 'STORAGE_FULL',
  XMinioStorageFull: 'STORAGE_FULL',
  XMinioAdminBucketQuotaExceeded: 'STORAGE_FULL',
  NoSpaceLeftOnDevice: 'STORAGE_FULL',
  ExceededStorageLimit: 'STORAGE_FULL',
  EntityTooLarge: 'STORAGE_FULL',
  SlowDown: 'STORAGE_UNAVAILABLE',
  InternalError: 'STORAGE_UNAVAILABLE',
  ServiceUnavailable: 'STORAGE_UNAVAILABLE',
  RequestTimeout: 'STORAGE_UNAVAILABLE',
  OperationAborted: 'STORAGE_UNAVAILABLE',
  ConditionalRequestConflict: 'STORAGE_UNAVAILABLE',
  NoSuchUpload: 'STORAGE_UNAVAILABLE',
  // The SDK takes the time of the answer over, so that the next attempt is signed right.
  RequestTimeTooSkewed: 'STORAGE_UNAVAILABLE',
  // Damaged on the way: the same bytes may arrive whole the next time.
  BadDigest: 'STORAGE_UNAVAILABLE',
  IncompleteBody: 'STORAGE_UNAVAILABLE',
  XAmzContentSHA256Mismatch: 'STORAGE_UNAVAILABLE',
};

const HINTS: Readonly<Record<string, string>> = {
  NoSuchBucket: 'Create the bucket, or correct "bucket", "region" and "endpoint" in the config.',
  PermanentRedirect: 'The bucket is in another region: correct "region" in the config.',
  AuthorizationHeaderMalformed: 'The bucket is in another region: correct "region" in the config.',
  InvalidObjectState: 'The object is in an archive storage class: restore it there first.',
  NotImplemented:
    'The service lacks a feature that the config asks for: set "provider", or see docs/how-to/storage-s3.md.',
  RequestTimeTooSkewed: 'The clock of this machine is wrong: set it.',
  ExpiredToken: 'The session token has expired: get new credentials.',
  CredentialsProviderError: 'No credentials were found: give accessKeyId and secretAccessKey, or set up those of AWS.',
  EntityTooLarge: 'The service takes no larger objects: lower "backup.partSize" in the config.',
  NoSuchUpload: 'Something removed the unfinished upload: a lifecycle rule must leave uploads at least a day.',
};

/** Codes for which trying again is of no use though the table says so. */
const PERMANENT: ReadonlySet<string> = new Set(['EntityTooLarge']);

const TLS_ERRORS =
  /^(?:CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED_CERT|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH|EPROTO$|ERR_SSL_)/;

/** What the SDK throws, as far as it is used here. */
interface SdkError {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

/** The HTTP status of an answer that the SDK turned into an error; undefined when none came. */
export function statusOf(error: unknown): number | undefined {
  return (error as SdkError | null | undefined)?.$metadata?.httpStatusCode;
}

/** The code that the service gave, or the name of the error; a HEAD request has no body and so no code. */
export function codeOf(error: unknown): string {
  const name = (error as SdkError | null | undefined)?.name;
  return typeof name === 'string' ? name : 'unknown error';
}

/** Whether the code says all there is to know. Answers to HEAD have none, and a proxy in between knows none. */
export function isExplained(error: unknown): boolean {
  return Object.hasOwn(CODES, codeOf(error)) || statusOf(error) === undefined;
}

/** Whether a put was refused for what is under its key, or for an upload that is over: an earlier attempt may have done both. */
export function isInTheWay(error: unknown): boolean {
  if (isArchiveError(error)) return error.code === 'STORAGE_EXISTS' || error.code === 'STORAGE_DENIED';
  return statusOf(error) === 412 || statusOf(error) === 409 || codeOf(error) === 'NoSuchUpload';
}

/** Whether the service closed the connection instead of answering. */
export function isReset(error: unknown): boolean {
  return statusOf(error) === undefined && ['ECONNRESET', 'EPIPE'].includes(deepErrno(error) ?? '');
}

/** The {@link ArchiveError} for what the SDK threw while `what` went on. */
export function s3Error(error: unknown, what: string, subject: Subject = 'object'): ArchiveError {
  const status = statusOf(error);
  return status === undefined ? withoutAnswer(error, what) : answered(error, status, what, subject);
}

function answered(error: unknown, status: number, what: string, subject: Subject): ArchiveError {
  const name = codeOf(error);
  const code = CODES[name] ?? codeOfStatus(status, subject);
  const hint = hintOf(error, name, code);
  const message = messageOf(error);
  const requestId = (error as SdkError).$metadata?.requestId;
  return new ArchiveError(code, `${what} failed: the storage answered ${name} (${status})${message}`, {
    cause: plainCause(error),
    details: { status, s3Code: name, ...(requestId === undefined ? {} : { requestId }) },
    ...(PERMANENT.has(name) ? { retriable: false } : {}),
    ...(hint === undefined ? {} : { hint }),
  });
}

function codeOfStatus(status: number, subject: Subject): ErrorCode {
  if (status === 401 || status === 403) return 'STORAGE_DENIED';
  if (status === 404) return subject === 'object' ? 'STORAGE_NOT_FOUND' : 'STORAGE_MISCONFIGURED';
  if (status === 412) return 'STORAGE_EXISTS';
  if (status === 413 || status === 507) return 'STORAGE_FULL';
  if (status === 416) return 'STORAGE_INVALID_KEY';
  if (status === 501 || status === 505) return 'STORAGE_MISCONFIGURED';
  if (status >= 500 || status === 408 || status === 409 || status === 425 || status === 429)
    return 'STORAGE_UNAVAILABLE';
  // An answer that was no S3 answer at all, such as the page of a proxy.
  if (status < 300) return 'STORAGE_UNAVAILABLE';
  return 'STORAGE_MISCONFIGURED';
}

function hintOf(error: unknown, name: string, code: ErrorCode): string | undefined {
  const region = (error as SdkError).$response?.headers?.['x-amz-bucket-region'];
  if (code === 'STORAGE_MISCONFIGURED' && region !== undefined && /^[\w-]+$/.test(region)) {
    return `The bucket is in the region ${region}: correct "region" in the config.`;
  }
  return HINTS[name];
}

function withoutAnswer(error: unknown, what: string): ArchiveError {
  const name = codeOf(error);
  const errno = deepErrno(error) ?? '';
  const options = { cause: plainCause(error), details: { reason: errno === '' ? name : errno } };
  if (TLS_ERRORS.test(errno)) {
    return new ArchiveError('STORAGE_MISCONFIGURED', `${what} failed: no TLS with the storage: ${errno}`, {
      ...options,
      hint: 'Check "endpoint" (http or https) and its certificate; "caFile" names further certificates to trust.',
    });
  }
  const text = messageOf(error);
  const code = CODES[name] ?? (/region is missing/i.test(text) ? 'STORAGE_MISCONFIGURED' : undefined);
  if (code !== undefined) {
    const hint = HINTS[name] ?? (code === 'STORAGE_MISCONFIGURED' ? 'Give "region" in the config.' : undefined);
    return new ArchiveError(code, `${what} failed: ${name}${text}`, {
      ...options,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  if (text.includes('Checksum mismatch')) {
    return new ArchiveError(
      'STORAGE_CORRUPT',
      `${what} failed: the bytes do not have the checksum that the storage gave`,
      options,
    );
  }
  const reason =
    name === 'TimeoutError' && errno === ''
      ? 'the storage did not answer in time'
      : `no answer from the storage: ${errno === '' ? name : errno}${text}`;
  return new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: ${reason}`, {
    ...options,
    hint: 'Check "endpoint", network and health of the storage; the work is retried.',
  });
}

/** The errno of the error, or of what several attempts to connect (IPv6, IPv4) came to. */
function deepErrno(error: unknown): string | undefined {
  const errno = errnoOf(error);
  if (errno !== undefined) return errno;
  const { errors, cause } = (error ?? {}) as { errors?: unknown; cause?: unknown };
  if (Array.isArray(errors) && errors.length > 0) return deepErrno(errors[0]);
  return cause === undefined ? undefined : deepErrno(cause);
}

/** `: what the service says`, in one line and not endless. */
function messageOf(error: unknown): string {
  const { message } = (error ?? {}) as SdkError;
  if (typeof message !== 'string' || message === '' || message === codeOf(error)) return '';
  return `: ${message.replaceAll(/\s+/g, ' ').slice(0, 300).replace(/\.$/, '')}`;
}

/**
 * A cause without what the SDK hangs on its errors: the answer to a request with a wrong signature repeats the request, and with it
 * the session token.
 */
function plainCause(error: unknown): Error {
  const cause = new Error(messageOf(error).slice(2), {});
  cause.name = codeOf(error);
  if (error instanceof Error && error.stack !== undefined) cause.stack = error.stack;
  return cause;
}
