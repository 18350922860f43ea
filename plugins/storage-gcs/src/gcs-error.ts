import { ArchiveError, errnoOf, type ErrorCode } from '@pgark/sdk';

/** An answer of the server, read to its end. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly text: string;
}

/** What the body of a refusal says. */
interface Complaint {
  readonly message: string;
  readonly reasons: readonly string[];
}

const NETWORK_ERRORS: ReadonlySet<string> = new Set([
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'EMFILE',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/** Complaints about the certificate, or about there being no TLS: these do not pass. */
const TLS_ERROR = /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|EPROTO$|HOSTNAME_MISMATCH$)/;

/** Reasons that come with 403 and may pass. */
const RATE_REASONS: ReadonlySet<string> = new Set(['rateLimitExceeded', 'userRateLimitExceeded']);

/** A lock is told by its reason, or by the plain "forbidden" and this text. */
const LOCK_REASONS: ReadonlySet<string> = new Set(['retentionPolicyNotMet', 'objectUnderActiveHold']);
const LOCK_MESSAGE = /is subject to .*retention|is under active .*hold/i;

/** The {@link ArchiveError} for a connection that failed while `what` went on. */
export function connectionError(error: unknown, what: string): ArchiveError {
  const errno = errnoOf(error) ?? 'unknown error';
  if (TLS_ERROR.test(errno)) {
    return new ArchiveError('STORAGE_MISCONFIGURED', `${what} failed: the TLS connection was refused: ${errno}`, {
      cause: error,
      details: { errno },
      hint: 'Check "endpoint"; name the certificate of a private authority in NODE_EXTRA_CA_CERTS.',
    });
  }
  return new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: ${errno}`, { cause: error, details: { errno } });
}

/** Whether an error, or what led to it, is one of the network. */
export function isNetworkError(error: unknown): boolean {
  const errno = errnoOf(error);
  if (errno !== undefined && NETWORK_ERRORS.has(errno)) return true;
  const { cause } = (error ?? {}) as { cause?: unknown };
  return cause !== undefined && cause !== error && isNetworkError(cause);
}

/** The {@link ArchiveError} for an answer that means failure whatever was asked. 404 and 412 mean something only to the caller. */
export function replyError(reply: Reply, what: string): ArchiveError {
  const { message, reasons } = complaintOf(reply);
  const hint = hintOf(reply.status);
  return new ArchiveError(codeOf(reply), `${what} failed: ${reply.status} ${message}`, {
    details: { status: reply.status, reasons },
    ...(hint === undefined ? {} : { hint }),
  });
}

function codeOf(reply: Reply): ErrorCode {
  const { status } = reply;
  const { message, reasons } = complaintOf(reply);
  if (status === 403 && reasons.some((reason) => RATE_REASONS.has(reason))) return 'STORAGE_UNAVAILABLE';
  if (status === 401 || status === 403) return 'STORAGE_DENIED';
  // The upload session is gone, two requests were in each other's way, or bytes changed on the way: once more may do.
  if (status === 409 || status === 410 || (status === 400 && /\b(md5|crc32c)\b/i.test(message))) {
    return 'STORAGE_UNAVAILABLE';
  }
  return status === 408 || status === 429 || status >= 500 ? 'STORAGE_UNAVAILABLE' : 'STORAGE_MISCONFIGURED';
}

function hintOf(status: number): string | undefined {
  if (status === 401)
    return 'The server does not know these credentials: check the key, and the clock of this machine.';
  if (status === 403) return 'Give the account the role that docs/how-to/storage-gcs.md names, on this bucket.';
  return undefined;
}

export function bucketMissing(bucket: string, what: string): ArchiveError {
  return new ArchiveError('STORAGE_MISCONFIGURED', `${what} failed: the bucket ${bucket} does not exist`, {
    hint: 'Check "bucket" and "endpoint" in the config, or create the bucket.',
  });
}

/** Whether the server refused because of a retention or a hold. */
export function isLocked(reply: Reply): boolean {
  if (reply.status !== 403) return false;
  const { message, reasons } = complaintOf(reply);
  return reasons.some((reason) => LOCK_REASONS.has(reason)) || LOCK_MESSAGE.test(message);
}

/**
 * Whether the server refused an upload because the object exists. Without the right to delete, what would overwrite is forbidden, and
 * which of the two it says first is nowhere promised.
 */
export function isExisting(reply: Reply): boolean {
  const { message, reasons } = complaintOf(reply);
  if (reply.status === 412) return reasons.length === 0 || reasons.includes('conditionNotMet');
  return isLocked(reply) || (reply.status === 403 && message.includes('storage.objects.delete'));
}

/** Whether the server said of exactly this object, and not of its bucket, that it is not there. */
export function isObjectMissing(reply: Reply, bucket: string, key: string): boolean {
  return reply.status === 404 && complaintOf(reply).message === `No such object: ${bucket}/${key}`;
}

/** Whether the server said that the bucket is not there. */
export function isBucketMissing(reply: Reply): boolean {
  return reply.status === 404 && /bucket does not exist/i.test(complaintOf(reply).message);
}

/** The complaint is JSON, or plain text where an object's bytes were asked for. */
function complaintOf(reply: Reply): Complaint {
  const plain = { message: reply.text.trim().slice(0, 2000), reasons: [] };
  try {
    const { error } = JSON.parse(reply.text) as { error?: { message?: unknown; errors?: unknown } };
    if (typeof error?.message !== 'string') return plain;
    const errors = Array.isArray(error.errors) ? (error.errors as readonly { reason?: unknown }[]) : [];
    const reasons = errors.map(({ reason }) => reason).filter((reason) => typeof reason === 'string');
    return { message: error.message.slice(0, 2000), reasons };
  } catch {
    return plain; // no JSON
  }
}

/** The JSON of an answer. Proxies answer with pages of their own: what is no JSON is no answer of the storage. */
export function parsed(reply: Reply, what: string): unknown {
  try {
    return JSON.parse(reply.text);
  } catch {
    throw new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: the answer is not that of a storage`, {
      hint: 'Check "endpoint", and whether a proxy answers in its place.',
    });
  }
}
