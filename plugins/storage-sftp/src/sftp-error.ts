import { ArchiveError, isArchiveError, type ErrorCode } from '@pgark/sdk';

/** Status codes of SFTP version 3, draft-ietf-secsh-filexfer-02, section 7. */
export const STATUS = {
  EOF: 1,
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  BAD_MESSAGE: 5,
  OP_UNSUPPORTED: 8,
} as const;

const CODES: Readonly<Record<number, ErrorCode>> = {
  [STATUS.PERMISSION_DENIED]: 'STORAGE_DENIED',
  // OpenSSH says so for ENAMETOOLONG and EINVAL.
  [STATUS.BAD_MESSAGE]: 'STORAGE_INVALID_KEY',
  [STATUS.OP_UNSUPPORTED]: 'STORAGE_MISCONFIGURED',
};

const HINTS: Readonly<Record<number, string>> = {
  [STATUS.PERMISSION_DENIED]:
    'Check who owns the folder on the server, and which requests the server refuses to this user.',
  [STATUS.BAD_MESSAGE]: 'File systems take at most 255 bytes between two slashes.',
  [STATUS.OP_UNSUPPORTED]:
    'Use OpenSSH as the server, or see docs/how-to/storage-sftp.md for what can be switched off.',
};

/** Some servers tell in words what the protocol has no code for. OpenSSH does not: its free space is asked for instead. */
const FULL = /no space|disk full|quota|not enough space/i;

/** The status code that the server answered with, or undefined when the error is not an answer. */
export function statusOf(error: unknown): number | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'number' ? code : undefined;
}

/** Whether the server answered that there is no such file; OpenSSH says so too where a part before the last is a file. */
export function isAbsent(error: unknown): boolean {
  return statusOf(error) === STATUS.NO_SUCH_FILE;
}

/** The {@link ArchiveError} for an answer of the server met while `what` went on. One that is made already stays as it is. */
export function sftpError(error: unknown, what: string): ArchiveError {
  if (isArchiveError(error)) return error;
  const status = statusOf(error);
  const text = error instanceof Error ? error.message : String(error);
  const hint = HINTS[status ?? 0];
  const code = FULL.test(text) ? 'STORAGE_FULL' : (CODES[status ?? 0] ?? 'STORAGE_UNAVAILABLE');
  return new ArchiveError(code, `${what} failed: ${text.toLowerCase()}`, {
    cause: error,
    details: { status },
    ...(hint === undefined || code === 'STORAGE_FULL' ? {} : { hint }),
  });
}

/** Waits for `promise`; an answer of the server comes out as {@link sftpError}. */
export async function mapped<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  try {
    return await promise;
  } catch (error) {
    throw sftpError(error, what);
  }
}

/** Waits for `promise`; undefined when it failed because no file is there. */
export async function present<Value>(promise: Promise<Value>, what: string): Promise<Value | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw sftpError(error, what);
  }
}
