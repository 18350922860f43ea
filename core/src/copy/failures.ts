/** Which failures are those of one object, and of which repository they tell. */
import { ArchiveError, isArchiveError, type ErrorCode } from '../contracts/errors.ts';
import { isObjectFault } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';

/** Something that could not be copied, beside which the rest went on. */
export interface CopyFailure {
  /** A backup's id, or the name of a WAL file. */
  readonly subject: string;
  readonly error: ArchiveError;
}

/** Codes that tell of one backup or WAL file, beside those of a damaged object. */
const OF_ONE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'STORAGE_EXISTS',
  'REPOSITORY_FORMAT',
  'BACKUP_NOT_FOUND',
  'WAL_NOT_FOUND',
  'WAL_CONFLICT',
]);

/** The failure of one thing; throws what is none, such as a storage that is away: the next thing would fare no better. */
export function failureOf(subject: string, error: unknown): CopyFailure {
  if (isArchiveError(error) && (isObjectFault(error) || OF_ONE.has(error.code))) return { subject, error };
  throw error;
}

/** Says in an error which repository it came from: the keys are the same in both. What is said once stays. */
export function namedAfter(repository: Repository, error: unknown): unknown {
  if (!isArchiveError(error) || error.code === 'ABORTED' || 'repository' in error.details) return error;
  const { name } = repository;
  const message = error.message.startsWith(`repository ${name}`)
    ? error.message
    : `repository ${name}: ${error.message}`;
  return new ArchiveError(error.code, message, {
    cause: error.cause ?? error,
    hint: error.hint,
    retriable: error.retriable,
    details: { ...error.details, repository: name },
  });
}

/** Does something with a repository, whose name then stands in its errors. */
export async function within<Value>(repository: Repository, call: () => Promise<Value>): Promise<Value> {
  try {
    return await call();
  } catch (error) {
    throw namedAfter(repository, error);
  }
}

/** A stream out of a repository that can be read anew, as a storage that tries again needs it. */
export function streamWithin(repository: Repository, open: () => AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => itemsWithin(repository, open()) };
}

/** The items of a listing or a stream of a repository. */
export async function* itemsWithin<Item>(repository: Repository, items: AsyncIterable<Item>): AsyncGenerator<Item> {
  try {
    yield* items;
  } catch (error) {
    throw namedAfter(repository, error);
  }
}
