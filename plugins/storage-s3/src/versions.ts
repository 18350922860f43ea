import type { ListObjectVersionsCommandOutput, S3 } from '@aws-sdk/client-s3';
import { compareKeys, throwIfAborted } from '@pgark/sdk';
import { disorder } from './list-objects.ts';
import { s3Error } from './s3-error.ts';

/** A version of an object, or the mark that it was deleted. */
export interface Version {
  readonly key: string;
  /** Undefined for a delete marker. */
  readonly id: string | undefined;
  readonly size: number;
  /** Epoch milliseconds. */
  readonly time: number;
}

export interface VersionListing {
  readonly bucket: string;
  readonly prefix: string;
  readonly startAfter?: string | undefined;
  readonly signal: AbortSignal | undefined;
  /** Where the time of a version comes from. */
  readonly times: 'listing' | 'ulid';
  readonly what: string;
}

/** All versions of each key, keys in the order of their bytes. */
export async function* versionsByKey(
  s3: S3,
  listing: VersionListing,
): AsyncGenerator<{ readonly key: string; readonly versions: readonly Version[] }, void, undefined> {
  const { what, signal, startAfter } = listing;
  let key: string | undefined;
  let versions: Version[] = [];
  for await (const page of pages(s3, listing)) {
    for (const version of entriesOf(page, listing.times)) {
      throwIfAborted(signal, what);
      if (startAfter !== undefined && compareKeys(version.key, startAfter) <= 0) continue;
      if (version.key !== key) {
        if (key !== undefined && compareKeys(version.key, key) < 0) throw disorder(what, version.key, key);
        if (key !== undefined) yield { key, versions };
        key = version.key;
        versions = [];
      }
      versions.push(version);
    }
  }
  if (key !== undefined) yield { key, versions };
}

/** What a key held at a moment; undefined when nothing. */
export function versionAt(versions: readonly Version[], moment: number): Version | undefined {
  let newest: Version | undefined;
  for (const version of versions) {
    if (version.time > moment) continue;
    // In one second a version and a delete marker can have come: in doubt the object is there.
    const isLater = newest === undefined || version.time > newest.time;
    if (isLater || (version.time === newest?.time && newest.id === undefined)) newest = version;
  }
  return newest?.id === undefined ? undefined : newest;
}

async function* pages(
  s3: S3,
  { bucket, prefix, startAfter, signal, what }: VersionListing,
): AsyncGenerator<ListObjectVersionsCommandOutput, void, undefined> {
  let from: object = startAfter === undefined ? {} : { KeyMarker: startAfter };
  for (;;) {
    let page: ListObjectVersionsCommandOutput;
    try {
      page = await s3.listObjectVersions(
        { Bucket: bucket, Prefix: prefix, ...from },
        signal === undefined ? {} : { abortSignal: signal },
      );
    } catch (error) {
      throwIfAborted(signal, what);
      throw s3Error(error, what, 'bucket');
    }
    yield page;
    throwIfAborted(signal, what);
    if (page.IsTruncated !== true) return;
    if (page.NextKeyMarker === undefined) throw disorder(what, 'nothing', 'a page that is not the last');
    from = {
      KeyMarker: page.NextKeyMarker,
      ...(page.NextVersionIdMarker === undefined || page.NextVersionIdMarker === ''
        ? {}
        : { VersionIdMarker: page.NextVersionIdMarker }),
    };
  }
}

/** A page by keys; of one key, as the service gave them: the newest first. */
function entriesOf(page: ListObjectVersionsCommandOutput, times: VersionListing['times']): readonly Version[] {
  const timeOf = (id: string, listed: Date | undefined): number =>
    (times === 'ulid' ? timeOfUlid(id) : undefined) ?? listed?.getTime() ?? 0;
  const stored = (page.Versions ?? []).map(({ Key: key = '', VersionId: id = 'null', Size = 0, LastModified }) => {
    return { key, id, size: Size, time: timeOf(id, LastModified) };
  });
  const markers = (page.DeleteMarkers ?? []).map(({ Key: key = '', VersionId: id = 'null', LastModified }) => {
    return { key, id: undefined, size: 0, time: timeOf(id, LastModified) };
  });
  return [...stored, ...markers].sort((left, right) => compareKeys(left.key, right.key));
}

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** The time in a ULID: its first ten digits, to base 32. Undefined for anything else, such as the version `null`. */
export function timeOfUlid(id: string): number | undefined {
  if (!/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(id)) return undefined;
  let time = 0;
  for (let place = 0; place < 10; place++) time = time * 32 + DIGITS.indexOf(id.charAt(place));
  return time;
}
