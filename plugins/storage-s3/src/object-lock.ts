import type { ObjectLockRetentionMode, S3 } from '@aws-sdk/client-s3';
import { ArchiveError, throwIfAborted, type LockAnswer, type LockProof } from '@pgark/sdk';
import { codeOf, s3Error, statusOf } from './s3-error.ts';

/** A call about one object. */
export interface ObjectCall {
  readonly bucket: string;
  readonly key: string;
  readonly signal: AbortSignal | undefined;
}

/**
 * Fails with `STORAGE_MISCONFIGURED` when a bucket is not made for locks. Who may not ask is warned, and the storage has to refuse by itself.
 */
export async function requireObjectLock(s3: S3, bucket: string, warn: (message: string) => void): Promise<void> {
  const what = `looking up the Object Lock of ${bucket}`;
  let enabled: boolean;
  try {
    const { ObjectLockConfiguration } = await s3.getObjectLockConfiguration({ Bucket: bucket });
    enabled = ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled';
  } catch (error) {
    if (codeOf(error) === 'AccessDenied')
      return warn(
        `these credentials may not see whether the bucket ${bucket} has Object Lock (s3:GetBucketObjectLockConfiguration)`,
      );
    if (codeOf(error) !== 'ObjectLockConfigurationNotFoundError') throw s3Error(error, what, 'bucket');
    enabled = false;
  }
  if (enabled) return;
  throw new ArchiveError(
    'STORAGE_MISCONFIGURED',
    `the bucket ${bucket} has no Object Lock: nothing in it can be locked`,
    {
      hint: 'Make a bucket with Object Lock, or take "lock" out of the repository: see docs/how-to/immutability.md.',
    },
  );
}

/** The end of the lock of an object; undefined when it has none. Asked for by itself: `stat` keeps silent about it without the permission. */
export async function lockEnd(s3: S3, { bucket, key, signal }: ObjectCall): Promise<Date | 'none' | 'missing'> {
  const what = `looking up the retention of ${key}`;
  try {
    const { Retention } = await s3.getObjectRetention({ Bucket: bucket, Key: key }, abortOf(signal));
    return Retention?.RetainUntilDate ?? 'none';
  } catch (error) {
    throwIfAborted(signal, what);
    const { name } = error as { readonly name?: string };
    if (name === 'NoSuchObjectLockConfiguration') return 'none';
    // The newest version of the key is a delete marker.
    if (name === 'NoSuchKey' || (name === 'MethodNotAllowed' && statusOf(error) === 405)) return 'missing';
    throw s3Error(error, what, 'bucket');
  }
}

/** Extends the lock of the newest version of an object to `until`, if it ends before `ifBefore`; gives its end. */
export async function extendLock(
  s3: S3,
  {
    mode,
    until,
    ifBefore,
    ...object
  }: ObjectCall & {
    readonly mode: ObjectLockRetentionMode;
    readonly until: Date;
    readonly ifBefore: Date;
  },
): Promise<Date> {
  const { bucket, key, signal } = object;
  const what = `locking ${key}`;
  const end = await lockEnd(s3, object);
  if (end === 'missing') throw new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${key}`);
  if (end !== 'none' && (end >= ifBefore || end >= until)) return end;
  throwIfAborted(signal, what);
  try {
    await s3.putObjectRetention(
      { Bucket: bucket, Key: key, Retention: { Mode: mode, RetainUntilDate: until } },
      abortOf(signal),
    );
  } catch (error) {
    throwIfAborted(signal, what);
    throw s3Error(error, what);
  }
  return until;
}

/**
 * Tries to break the lock of an object: by an upload over it, by a delete as everybody sends it, and by the delete of the locked version
 * itself. What comes of that is removed again as far as it can be.
 */
export async function breakLock(s3: S3, { bucket, key, signal }: ObjectCall): Promise<LockProof> {
  const what = `trying the lock of ${key}`;
  const call = abortOf(signal);
  const asked = async <Answer>(request: () => Promise<Answer>): Promise<Answer | 'refused'> => {
    throwIfAborted(signal, what);
    try {
      return await request();
    } catch (error) {
      throwIfAborted(signal, what);
      // Of a lock, of a policy, and of a condition that the bucket demands.
      if ([403, 409, 412].includes(statusOf(error) ?? 0)) return 'refused';
      throw s3Error(error, what, 'bucket');
    }
  };
  const head = await asked(() => s3.headObject({ Bucket: bucket, Key: key }, call));
  if (head === 'refused') throw new ArchiveError('STORAGE_DENIED', `${what} failed: the object cannot be looked at`);
  const { VersionId, ETag } = head;
  const exact = VersionId === undefined ? {} : { VersionId };
  const survived = async (): Promise<LockAnswer> => {
    try {
      const now = await s3.headObject({ Bucket: bucket, Key: key, ...exact }, call);
      return now.ETag === ETag ? 'kept' : 'lost';
    } catch (error) {
      throwIfAborted(signal, what);
      if (statusOf(error) === 404) return 'lost';
      throw s3Error(error, what);
    }
  };
  const laidOver: string[] = [];
  const put = await asked(() => s3.putObject({ Bucket: bucket, Key: key, Body: 'not what was locked' }, call));
  const replace = put === 'refused' ? put : await survived();
  if (put !== 'refused' && put.VersionId !== undefined) laidOver.push(put.VersionId);
  const marker = await asked(() => s3.deleteObject({ Bucket: bucket, Key: key }, call));
  if (marker !== 'refused' && marker.VersionId !== undefined) laidOver.push(marker.VersionId);
  const exactly =
    VersionId === undefined ? marker : await asked(() => s3.deleteObject({ Bucket: bucket, Key: key, ...exact }, call));
  const remove = marker === 'refused' && exactly === 'refused' ? 'refused' : await survived();
  for (const id of laidOver) {
    if (id !== VersionId) await asked(() => s3.deleteObject({ Bucket: bucket, Key: key, VersionId: id }, call));
  }
  return { replace, remove };
}

/** The signal of a call as the SDK takes it. */
export function abortOf(signal: AbortSignal | undefined): { readonly abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}
