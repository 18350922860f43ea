import type { S3, _Error as DeleteError } from '@aws-sdk/client-s3';
import { throwIfAborted, type ArchiveError } from '@pgark/sdk';
import { lockEnd } from './object-lock.ts';
import { s3Error } from './s3-error.ts';

/** S3 takes no more keys in one request. */
const BATCH = 1000;

/** How many objects are asked for their retention at once. */
const AT_ONCE = 16;

export interface RemoveOptions {
  readonly bucket: string;
  readonly keys: readonly string[];
  /** The bucket may have objects under retention: each is asked, because a versioned bucket would hide one that is held. */
  readonly mayBeHeld: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Deletes objects, and gives the keys of those that are held. */
export async function removeObjects(s3: S3, options: RemoveOptions): Promise<readonly string[]> {
  const { bucket, keys, signal } = options;
  const retained: string[] = [];
  for (let start = 0; start < keys.length; start += BATCH) {
    throwIfAborted(signal, 'removing objects');
    const batch = keys.slice(start, start + BATCH);
    const free = options.mayBeHeld ? await withoutHeld(s3, bucket, batch, retained, signal) : batch;
    if (free.length === 0) continue;
    for (const error of await removeBatch(s3, bucket, free, signal)) {
      const key = error.Key ?? '';
      if (error.Code === 'NoSuchKey') continue;
      // A refusal says nothing of its reason: it may be a lock that the bucket gave by itself.
      if ((await retentionOf(s3, bucket, key, signal).catch(() => 'unknown')) === 'retained') retained.push(key);
      else throw keyError(error, key);
    }
  }
  return retained;
}

async function removeBatch(
  s3: S3,
  bucket: string,
  keys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly DeleteError[]> {
  const what = keys.length === 1 ? `removing ${keys[0]}` : `removing ${keys.length} objects`;
  try {
    const { Errors = [] } = await s3.deleteObjects(
      { Bucket: bucket, Delete: { Objects: keys.map((key) => ({ Key: key })), Quiet: true } },
      signal === undefined ? {} : { abortSignal: signal },
    );
    return Errors;
  } catch (error) {
    throwIfAborted(signal, what);
    throw s3Error(error, what, 'bucket');
  }
}

/** The error of one key in an answer that is a success as a whole; it has a code and no status. */
function keyError({ Code = 'unknown error', Message = '' }: DeleteError, key: string): ArchiveError {
  const status = Code === 'AccessDenied' ? 403 : 500;
  return s3Error(
    Object.assign(new Error(Message), { name: Code, $metadata: { httpStatusCode: status } }),
    `removing ${key}`,
  );
}

async function withoutHeld(
  s3: S3,
  bucket: string,
  keys: readonly string[],
  retained: string[],
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  const free: string[] = [];
  const waiting = [...keys];
  const worker = async (): Promise<void> => {
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
      const retention = await retentionOf(s3, bucket, key, signal);
      // A delete of a key that is not there would leave a delete marker in a versioned bucket.
      if (retention !== 'missing') (retention === 'retained' ? retained : free).push(key);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, keys.length) }, worker));
  return free;
}

/** Whether a lock holds the object. */
export async function retentionOf(
  s3: S3,
  bucket: string,
  key: string,
  signal: AbortSignal | undefined,
): Promise<'retained' | 'free' | 'missing'> {
  const end = await lockEnd(s3, { bucket, key, signal });
  if (end === 'missing') return end;
  return end !== 'none' && end.getTime() > Date.now() ? 'retained' : 'free';
}
