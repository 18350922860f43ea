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
import { checkedBytes, rangeHeader } from './download.ts';
import type { GcsClient } from './gcs-client.ts';
import { bucketMissing, parsed, replyError } from './gcs-error.ts';
import type { HttpCall } from './http-client.ts';

/** One generation of an object, as the JSON API describes it. */
interface Generation {
  readonly name: string;
  readonly size: string;
  readonly generation: string;
  readonly timeCreated: string;
  /** When it was replaced or deleted; absent for the live one. */
  readonly timeDeleted?: string;
}

const FIELDS = 'name,size,generation,timeCreated,timeDeleted';

export interface PastOptions {
  readonly client: GcsClient;
  readonly moment: Date;
  readonly warn: (message: string) => void;
  readonly close: () => Promise<void>;
}

/** A bucket that keeps versions as it was at a moment: of each key the generation that was live then. A read takes one request more. */
export class PastStorage implements Storage {
  readonly capabilities: StorageCapabilities = { conditionalPut: false, retention: false, metadata: false };
  readonly #options: PastOptions;
  readonly #client: GcsClient;
  readonly #versions: AskedOnce = new AskedOnce(() => this.#checkVersions());

  constructor(options: PastOptions) {
    this.#options = options;
    this.#client = options.client;
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
    resolveRange(key, range, Number.MAX_SAFE_INTEGER);
    const { generation, size } = await this.#find(key, { what, signal });
    const { start, end } = resolveRange(key, range, Number(size));
    if (start === end) return;
    const reply = await this.#client.open({
      what,
      method: 'GET',
      path: this.#client.objectPath(key, { alt: 'media', generation }),
      headers: { 'accept-encoding': 'gzip', ...rangeHeader(start, range === undefined ? undefined : end) },
      signal,
    });
    if (reply.status === 200 || reply.status === 206) return yield* checkedBytes(key, reply);
    throw replyError({ status: reply.status, headers: reply.headers, text: await reply.text() }, what);
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    return infoOf(await this.#find(checkKey(key), { what: `looking up ${key}`, signal: options.signal }));
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const { startAfter, signal } = options;
    for await (const found of this.#live(prefix, startAfter, { what: `listing ${prefix}`, signal }))
      yield infoOf(found);
  }

  async close(): Promise<void> {
    await this.#options.close();
  }

  async #find(key: string, call: Pick<HttpCall, 'what' | 'signal'>): Promise<Generation> {
    // Of all keys that begin with it the key itself comes first.
    for await (const found of this.#live(key, undefined, call)) {
      if (found.name === key) return found;
      break;
    }
    const moment = this.#options.moment.toISOString();
    throw new ArchiveError('STORAGE_NOT_FOUND', `there was no object ${key} at ${moment}`);
  }

  async *#live(
    prefix: string,
    startAfter: string | undefined,
    call: Pick<HttpCall, 'what' | 'signal'>,
  ): AsyncGenerator<Generation, void, undefined> {
    throwIfAborted(call.signal, call.what);
    await this.#versions.get(call.signal, call.what);
    const moment = this.#options.moment.getTime();
    let pageToken: string | undefined;
    do {
      const query = { prefix, startOffset: startAfter, pageToken, versions: 'true', maxResults: '1000' };
      const path = this.#client.objectsPath({ ...query, fields: `items(${FIELDS}),nextPageToken` });
      const reply = await this.#client.call({ ...call, method: 'GET', path });
      if (reply.status === 404) throw bucketMissing(this.#client.bucket, call.what);
      if (reply.status !== 200) throw replyError(reply, call.what);
      const page = parsed(reply, call.what) as { items?: readonly Generation[]; nextPageToken?: string };
      for (const found of page.items ?? []) {
        throwIfAborted(call.signal, call.what);
        const { name, timeCreated, timeDeleted } = found;
        const isLive =
          Date.parse(timeCreated) <= moment && (timeDeleted === undefined || Date.parse(timeDeleted) > moment);
        if (isLive && name !== startAfter) yield found;
      }
      pageToken = page.nextPageToken === '' ? undefined : page.nextPageToken;
      throwIfAborted(call.signal, call.what);
    } while (pageToken !== undefined);
  }

  /** A bucket without versions has the live ones only: what was deleted would be taken for what never was. */
  async #checkVersions(): Promise<void> {
    const { bucket } = this.#client;
    const call = { what: `looking up the versions of ${bucket}` };
    const reply = await this.#client.call({
      ...call,
      method: 'GET',
      path: this.#client.bucketPath({ fields: 'versioning' }),
    });
    if (reply.status === 403)
      return this.#options.warn(
        `these credentials may not see whether the bucket ${bucket} keeps versions (storage.buckets.get): if it does not, its past is not shown`,
      );
    if (reply.status === 404) throw bucketMissing(bucket, call.what);
    if (reply.status !== 200) throw replyError(reply, call.what);
    const { versioning } = parsed(reply, call.what) as { versioning?: { enabled?: boolean } };
    if (versioning?.enabled === true) return;
    throw new ArchiveError('STORAGE_UNSUPPORTED', `the bucket ${bucket} keeps no versions: its past cannot be read`, {
      hint: 'Leave out --as-of. For the next time, turn versions on: see docs/how-to/immutability.md.',
    });
  }
}

function infoOf({ name, size, timeCreated }: Generation): ObjectInfo {
  return { key: name, size: Number(size), modified: Date.parse(timeCreated) };
}

function denied(what: string): ArchiveError {
  return new ArchiveError('STORAGE_DENIED', `${what} is refused: the past is only read`);
}
