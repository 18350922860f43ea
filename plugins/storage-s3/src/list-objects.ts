import type { S3 } from '@aws-sdk/client-s3';
import { ArchiveError, compareKeys, throwIfAborted, type ListOptions, type ObjectInfo } from '@pgark/sdk';
import { s3Error } from './s3-error.ts';

/** Lists the objects of a bucket in the order of the bytes of their keys. */
export async function* listObjects(
  s3: S3,
  bucket: string,
  prefix: string,
  { signal, startAfter }: ListOptions,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const what = `listing ${prefix}`;
  const call = signal === undefined ? {} : { abortSignal: signal };
  let last = startAfter;
  for (let token: string | undefined; ;) {
    const from = token === undefined ? { StartAfter: last } : { ContinuationToken: token };
    let page;
    try {
      page = await s3.listObjectsV2({ Bucket: bucket, Prefix: prefix, ...from }, call);
    } catch (error) {
      throwIfAborted(signal, what);
      throw s3Error(error, what, 'bucket');
    }
    // S3 sorts by bytes. Others sort by UTF-16 or a locale, which within a page can be mended.
    const entries = (page.Contents ?? []).toSorted((left, right) => compareKeys(left.Key ?? '', right.Key ?? ''));
    for (const { Key: key = '', Size = 0, LastModified } of entries) {
      throwIfAborted(signal, what);
      if (startAfter !== undefined && compareKeys(key, startAfter) <= 0) continue;
      if (last !== undefined && compareKeys(key, last) <= 0) throw disorder(what, key, last);
      last = key;
      yield { key, size: Size, modified: LastModified?.getTime() ?? 0 };
    }
    token = page.NextContinuationToken;
    if (page.IsTruncated !== true) return;
    if (token === undefined && entries.length === 0) throw disorder(what, 'nothing', last ?? 'nothing');
    throwIfAborted(signal, what);
  }
}

export function disorder(what: string, key: string, last: string): ArchiveError {
  return new ArchiveError('STORAGE_MISCONFIGURED', `${what} failed: the service gave ${key} after ${last}`, {
    hint: 'pgark needs listings in the order of the bytes of the keys: this service, or kind of bucket, cannot be used.',
  });
}
