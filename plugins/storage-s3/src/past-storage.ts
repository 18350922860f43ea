import type { S3 } from '@aws-sdk/client-s3';
import {
  ArchiveError,
  AskedOnce,
  checkKey,
  resolveRange,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type RemoveResult,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';
import type { Settings } from './options.ts';
import { readObject } from './read-object.ts';
import { codeOf, isExplained, s3Error, statusOf } from './s3-error.ts';
import { versionAt, versionsByKey, type Version } from './versions.ts';

export interface PastOptions {
  readonly moment: Date;
  readonly settings: Settings;
  readonly begin: (signal: AbortSignal | undefined, what: string) => Promise<S3>;
  readonly warn: (message: string) => void;
  readonly close: () => Promise<void>;
}

/**
 * A bucket that keeps versions as it was at a moment: of each key the version that was the newest then. S3 tells times in whole seconds, so
 * what came within the second of the moment is there.
 *
 * A read takes one request more, which finds the version.
 */
export class PastStorage implements Storage {
  readonly capabilities: StorageCapabilities = { conditionalPut: false, retention: false, metadata: false };
  readonly #options: PastOptions;
  #versions: AskedOnce | undefined;

  constructor(options: PastOptions) {
    this.#options = options;
  }

  async put(key: string): Promise<void> {
    throw denied(`storing ${checkKey(key)}`);
  }

  async remove(): Promise<RemoveResult> {
    throw denied('removing objects');
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { range, signal } = options;
    const what = `reading ${checkKey(key)}`;
    if (range !== undefined) resolveRange(key, range, Number.MAX_SAFE_INTEGER);
    const version = await this.#find(key, signal, what);
    if (range !== undefined && range.start === range.end) {
      resolveRange(key, range, version.size); // HTTP has no range of no bytes
      return;
    }
    const s3 = await this.#begin(signal, what);
    const { bucket, idleTimeout } = this.#options.settings;
    try {
      yield* readObject(s3, { bucket, key, version: version.id, range, signal, idleTimeout });
    } catch (error) {
      throwIfAborted(signal, what);
      throw isExplained(error) || statusOf(error) === undefined ? error : s3Error(error, what);
    }
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    return infoOf(await this.#find(checkKey(key), options.signal, `looking up ${key}`));
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const { signal, startAfter } = options;
    for await (const version of this.#live(prefix, startAfter, signal, `listing ${prefix}`)) yield infoOf(version);
  }

  async close(): Promise<void> {
    await this.#options.close();
  }

  async #find(key: string, signal: AbortSignal | undefined, what: string): Promise<Version> {
    // Of all keys that begin with it the key itself comes first; what follows is not looked at.
    const s3 = await this.#begin(signal, what);
    const { bucket, versionTimes: times } = this.#options.settings;
    const listing = { bucket, prefix: key, signal, times, what };
    for await (const { key: found, versions } of versionsByKey(s3, listing)) {
      const version = found === key ? versionAt(versions, this.#options.moment.getTime()) : undefined;
      if (version !== undefined) return version;
      break;
    }
    throw new ArchiveError('STORAGE_NOT_FOUND', `there was no object ${key} at ${this.#options.moment.toISOString()}`);
  }

  async *#live(
    prefix: string,
    startAfter: string | undefined,
    signal: AbortSignal | undefined,
    what: string,
  ): AsyncGenerator<Version, void, undefined> {
    const s3 = await this.#begin(signal, what);
    const { bucket, versionTimes: times } = this.#options.settings;
    for await (const { versions } of versionsByKey(s3, { bucket, prefix, startAfter, signal, times, what })) {
      const version = versionAt(versions, this.#options.moment.getTime());
      if (version !== undefined) yield version;
    }
  }

  async #begin(signal: AbortSignal | undefined, what: string): Promise<S3> {
    const s3 = await this.#options.begin(signal, what);
    this.#versions ??= new AskedOnce(() => this.#checkVersions(s3));
    await this.#versions.get(signal, what);
    return s3;
  }

  /** A bucket without versions lists each object as one: the present would be taken for the past. */
  async #checkVersions(s3: S3): Promise<void> {
    const { bucket } = this.#options.settings;
    let status: string | undefined;
    try {
      status = (await s3.getBucketVersioning({ Bucket: bucket })).Status;
    } catch (error) {
      if (statusOf(error) === 403 && codeOf(error) === 'AccessDenied')
        return this.#options.warn(
          `these credentials may not see whether the bucket ${bucket} keeps versions (s3:GetBucketVersioning): if it does not, its past is not shown`,
        );
      throw s3Error(error, `looking up the versions of ${bucket}`, 'bucket');
    }
    if (status !== undefined) return;
    throw new ArchiveError('STORAGE_UNSUPPORTED', `the bucket ${bucket} keeps no versions: its past cannot be read`, {
      hint: 'Leave out --as-of. For the next time, turn versions on: see docs/how-to/immutability.md.',
    });
  }
}

function infoOf({ key, size, time }: Version): ObjectInfo {
  return { key, size, modified: time };
}

function denied(what: string): ArchiveError {
  return new ArchiveError('STORAGE_DENIED', `${what} is refused: the past is only read`);
}
