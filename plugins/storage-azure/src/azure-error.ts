import { ArchiveError, type ErrorCode } from '@pgark/sdk';

/** What the service, or the way to it, said. */
export interface Fault {
  /** The service's code (`BlobNotFound`), or that of the system (`ECONNREFUSED`). */
  readonly code: string;
  /** Status of the answer; undefined when none came. */
  readonly status: number | undefined;
}

/** Codes of the service that say more than the status they come with. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  BlobNotFound: 'STORAGE_NOT_FOUND',
  AccountBeingCreated: 'STORAGE_UNAVAILABLE',
  OperationTimedOut: 'STORAGE_UNAVAILABLE',
  ServerBusy: 'STORAGE_UNAVAILABLE',
  // The bytes changed on their way.
  Md5Mismatch: 'STORAGE_UNAVAILABLE',
  // Somebody else committed or replaced the object meanwhile: the blocks are gone, the same put may succeed next time.
  InvalidBlockList: 'STORAGE_UNAVAILABLE',
  BlobImmutableDueToPolicy: 'STORAGE_DENIED',
  BlobImmutableDueToLegalHold: 'STORAGE_DENIED',
  LeaseIdMissing: 'STORAGE_DENIED',
};

/** What the service says when the name is taken; the third to writers that may create but not overwrite. */
const TAKEN: readonly string[] = [
  'BlobAlreadyExists',
  'ConditionNotMet',
  'UnauthorizedBlobOverwrite',
  'InvalidBlobType',
  'BlobImmutableDueToPolicy',
  'BlobImmutableDueToLegalHold',
];

const HINTS: Readonly<Record<string, string>> = {
  AuthenticationFailed:
    'Check the key or SAS, that a SAS has not expired, and that the clock of this machine is right.',
  AuthorizationFailure: 'Check the firewall of the storage account and the permissions of the SAS.',
  AuthorizationPermissionMismatch:
    'Give the identity a role for the data of the container (Storage Blob Data ...), or the SAS the permission.',
  BlobArchived: 'The object was moved to the archive tier: rehydrate it, and exempt the container from that rule.',
  BlobBeingRehydrated: 'The object comes back from the archive tier: wait until it is there.',
  BlobImmutableDueToLegalHold: 'A legal hold protects the object.',
  BlobImmutableDueToPolicy: 'An immutability policy protects the object.',
  BlockCountExceedsLimit: 'An object has at most 50,000 blocks: raise blockSize.',
  ContainerBeingDeleted: 'The container was deleted a moment ago.',
  ContainerNotFound: 'Check account and container in the config; pgark does not create the container.',
  KeyBasedAuthenticationNotPermitted: 'The account takes no keys: leave accountKey out and use an identity.',
};

const CERTIFICATE = /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|EPROTO)/;

/**
 * The {@link ArchiveError} for a failure of the library met while `what` went on.
 *
 * Its own error is not handed on: it holds the request, and with it the signature of a SAS. What it says is.
 */
export function azureError(error: unknown, what: string): ArchiveError {
  const fault = faultOf(error);
  const { code, status } = fault;
  const hint = HINTS[code] ?? hintOf(fault);
  const said = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  return new ArchiveError(codeOf(fault), `${what} failed: ${code}${status === undefined ? '' : ` (${status})`}`, {
    cause: new Error(said.replaceAll(/\bsig=[^&\s]*/g, 'sig=[redacted]').slice(0, 300)),
    details: { ...fault },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** What an {@link azureError} was made of; undefined for any other error. */
export function faultIn(error: unknown): Fault | undefined {
  const details = (error as { details?: Partial<Fault> } | undefined)?.details;
  return details?.code === undefined ? undefined : { code: details.code, status: details.status };
}

/** Whether a write failed because the name is taken. */
export function isTaken(fault: Fault | undefined): boolean {
  return fault !== undefined && TAKEN.includes(fault.code);
}

/** Whether a removal failed because the storage keeps the object. */
export function isRetained(fault: Fault | undefined): boolean {
  return fault?.code === 'BlobImmutableDueToPolicy' || fault?.code === 'BlobImmutableDueToLegalHold';
}

function codeOf({ code, status }: Fault): ErrorCode {
  const known = CODES[code];
  if (known !== undefined) return known;
  if (status === undefined) return withoutAnswer(code);
  if (status === 401 || status === 403) return 'STORAGE_DENIED';
  if (status === 507) return 'STORAGE_FULL';
  if (status === 408 || status === 429 || status >= 500) return 'STORAGE_UNAVAILABLE';
  // Any 404 but BlobNotFound: the container or the account is not there. What else is refused would be again.
  return 'STORAGE_MISCONFIGURED';
}

function withoutAnswer(code: string): ErrorCode {
  if (/^(?:CredentialUnavailable|Authentication|AggregateAuthentication)/.test(code)) return 'STORAGE_DENIED';
  if (CERTIFICATE.test(code) || code === 'ERR_INVALID_URL') return 'STORAGE_MISCONFIGURED';
  return 'STORAGE_UNAVAILABLE';
}

function hintOf({ code, status }: Fault): string | undefined {
  if (status !== undefined) return undefined;
  if (CERTIFICATE.test(code)) return 'Name the certificate of your own authority in NODE_EXTRA_CA_CERTS.';
  if (withoutAnswer(code) !== 'STORAGE_DENIED') return undefined;
  return 'No identity was found here: give the machine a managed identity, or give accountKey, sasToken or connectionString.';
}

interface LibraryError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly statusCode?: unknown;
  readonly response?: { readonly headers?: { get(name: string): string | undefined } };
}

function faultOf(error: unknown): Fault {
  const { code, name, response, statusCode } = (error ?? {}) as LibraryError;
  const status = typeof statusCode === 'number' ? statusCode : undefined;
  // An answer to HEAD has no body, but this header.
  const header = response?.headers?.get('x-ms-error-code');
  if (header !== undefined) return { code: header, status };
  if (typeof name === 'string' && /^(?:Credential|Authentication|AggregateAuth)/.test(name)) {
    return { code: name, status: undefined };
  }
  if (typeof code === 'string' && code !== '') return { code, status };
  return { code: status === undefined ? 'the connection broke' : 'an answer without a code', status };
}
