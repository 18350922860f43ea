import { isArchiveError, type ArchiveError } from '../../src/contracts/errors.ts';

/** The {@link ArchiveError} that a call throws; anything else is a failure of the test. */
export function failure(call: () => unknown): ArchiveError {
  try {
    call();
  } catch (error) {
    if (isArchiveError(error)) return error;
    throw error;
  }
  throw new Error('the call did not fail');
}
