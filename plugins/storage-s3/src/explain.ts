import type { S3 } from '@aws-sdk/client-s3';
import { throwIfAborted, type ArchiveError } from '@pgark/sdk';
import { abortOf, type ObjectCall } from './object-lock.ts';
import { s3Error, statusOf } from './s3-error.ts';

/**
 * What an answer without a code means, such as every one to HEAD: 404 is said for a missing key and for a missing bucket, 400 for much
 * (H-50). A listing of the bucket fails with the code, or shows that it is the key that is missing.
 */
export async function explain(
  s3: S3,
  { bucket, key, what, signal }: ObjectCall & { readonly what: string },
  error: unknown,
): Promise<ArchiveError> {
  const status = statusOf(error) ?? 0;
  if (status < 300 || status >= 500) return s3Error(error, what);
  try {
    await s3.listObjectsV2({ Bucket: bucket, Prefix: key, MaxKeys: 1 }, abortOf(signal));
  } catch (reason) {
    throwIfAborted(signal, what);
    return s3Error(reason, what, 'bucket');
  }
  return s3Error(error, what);
}
