import {
  ArchiveError,
  checkKey,
  resolveRange,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type PluginContext,
  type PutOptions,
  type RemoveResult,
  type RetainOptions,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';
import { Credentials } from './credentials.ts';
import { checkedBytes, rangeHeader } from './download.ts';
import { GcsClient } from './gcs-client.ts';
import {
  bucketMissing,
  isBucketMissing,
  isLocked,
  isObjectMissing,
  parsed,
  replyError,
  type Reply,
} from './gcs-error.ts';
import type { HttpCall, OpenReply } from './http-client.ts';
import { DEFAULT_CHUNK_SIZE, type GcsStorageOptions } from './options.ts';
import { PastStorage } from './past-storage.ts';
import { Upload, type UploadSettings } from './upload.ts';

/** How many objects are deleted at once: each takes a request of its own. */
const REMOVED_AT_ONCE = 16;

const OBJECT_FIELDS = 'name,size,timeCreated,metadata';

/** An object as the JSON API describes it. */
interface ObjectResource {
  readonly name: string;
  readonly size: string;
  readonly timeCreated: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

interface ListPage {
  readonly items?: readonly ObjectResource[];
  readonly nextPageToken?: string;
}

type Context = Pick<PluginContext, 'directory'> & Partial<Pick<PluginContext, 'logger'>>;

/** Objects in a bucket of Google Cloud Storage, under their keys. */
export class GcsStorage implements Storage {
  readonly capabilities: StorageCapabilities;
  readonly #client: GcsClient;
  readonly #upload: UploadSettings;
  readonly #context: Context;
  #closed = false;

  constructor(options: GcsStorageOptions, context: Context) {
    this.#context = context;
    this.capabilities = { conditionalPut: true, retention: options.retention !== undefined, metadata: true };
    this.#client = new GcsClient(
      {
        bucket: options.bucket,
        endpoint: options.endpoint ?? 'https://storage.googleapis.com',
        userProject: options.projectId,
        limit: (options.timeout ?? 60) * 1000,
      },
      new Credentials(options, context.directory),
    );
    this.#upload = {
      chunkSize: options.chunkSize ?? DEFAULT_CHUNK_SIZE,
      storageClass: options.storageClass,
      kmsKeyName: options.kmsKeyName,
      retention: options.retention && (options.retention === 'locked' ? 'Locked' : 'Unlocked'),
    };
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    this.#begin(options.signal, `storing ${key}`);
    checkKey(key);
    await new Upload(this.#client, this.#upload, key, options, () => this.get(key)).run(body);
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const what = `reading ${key}`;
    const { range, signal } = options;
    this.#begin(signal, what);
    checkKey(key);
    // Without the size this finds what is no range at all.
    const { start } = resolveRange(key, range, Number.MAX_SAFE_INTEGER);
    if (range?.end === start) {
      // HTTP has no range of nothing, but the key must be there and the start within it.
      resolveRange(key, range, (await this.stat(key, options)).size);
      return;
    }
    const reply = await this.#client.open({
      what,
      method: 'GET',
      path: this.#client.objectPath(key, { alt: 'media' }),
      // As it is stored: otherwise an object marked as compressed would come decompressed.
      headers: { 'accept-encoding': 'gzip', ...rangeHeader(start, range?.end) },
      signal,
    });
    if (reply.status === (start === 0 && range?.end === undefined ? 200 : 206)) {
      yield* checkedBytes(key, reply);
      return;
    }
    await this.#explainRead(key, start, reply, { what, signal });
  }

  /** Returns when an empty object is why a range was not given. */
  async #explainRead(
    key: string,
    start: number,
    reply: OpenReply,
    call: Pick<HttpCall, 'what' | 'signal'>,
  ): Promise<void> {
    if (reply.status === 200) {
      await reply.chunks().return();
      throw new ArchiveError('STORAGE_UNAVAILABLE', `${call.what} failed: the server ignored the range`);
    }
    const whole: Reply = { status: reply.status, headers: reply.headers, text: await reply.text() };
    if (whole.status === 404) throw await this.#explainMissing(key, whole, call);
    if (whole.status !== 416) throw replyError(whole, call.what);
    // No range can start in an empty object.
    if (start === 0) return;
    throw new ArchiveError('STORAGE_INVALID_KEY', `a range of ${key} starts at ${start}, behind the end of the object`);
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    const call = { what: `looking up ${key}`, signal: options.signal };
    this.#begin(options.signal, call.what);
    checkKey(key);
    const reply = await this.#client.call({
      ...call,
      method: 'GET',
      path: this.#client.objectPath(key, { fields: OBJECT_FIELDS }),
    });
    if (reply.status === 404) throw await this.#explainMissing(key, reply, call);
    if (reply.status !== 200) throw replyError(reply, call.what);
    return infoOf(parsed(reply, call.what) as ObjectResource);
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const { startAfter, signal } = options;
    const what = `listing ${prefix}`;
    this.#begin(signal, what);
    let pageToken: string | undefined;
    do {
      const page = await this.#page(prefix, { startOffset: startAfter, pageToken }, { what, signal });
      for (const object of page.items ?? []) {
        throwIfAborted(signal, what);
        // The offset is the first key that is wanted, not the last that is not.
        if (object.name !== startAfter) yield infoOf(object);
      }
      pageToken = page.nextPageToken === '' ? undefined : page.nextPageToken;
      throwIfAborted(signal, what);
    } while (pageToken !== undefined);
  }

  async #page(
    prefix: string,
    from: { readonly startOffset?: string | undefined; readonly pageToken?: string | undefined },
    call: Pick<HttpCall, 'what' | 'signal'>,
  ): Promise<ListPage> {
    const query = { prefix, ...from, maxResults: '1000', fields: `items(${OBJECT_FIELDS}),nextPageToken` };
    const reply = await this.#client.call({ ...call, method: 'GET', path: this.#client.objectsPath(query) });
    if (reply.status === 404) throw bucketMissing(this.#client.bucket, call.what);
    if (reply.status !== 200) throw replyError(reply, call.what);
    return parsed(reply, call.what) as ListPage;
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    this.#begin(options.signal, 'removing objects');
    for (const key of keys) checkKey(key);
    const waiting = [...new Set(keys)].toReversed();
    const retained = new Set<string>();
    let failure: { readonly error: unknown } | undefined;
    const remover = async (): Promise<void> => {
      for (let key = waiting.pop(); key !== undefined && failure === undefined; key = waiting.pop()) {
        try {
          if (!(await this.#removeOne(key, options.signal))) retained.add(key);
        } catch (error) {
          failure ??= { error };
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(REMOVED_AT_ONCE, waiting.length) }, remover));
    if (failure !== undefined) throw failure.error;
    return { retained: keys.filter((key) => retained.has(key)) };
  }

  /** False when the object is under a lock. */
  async #removeOne(key: string, signal: AbortSignal | undefined): Promise<boolean> {
    const call = { what: `removing ${key}`, signal };
    const reply = await this.#client.call({ ...call, method: 'DELETE', path: this.#client.objectPath(key) });
    if (reply.status >= 200 && reply.status < 300) return true;
    if (isLocked(reply)) return false;
    if (reply.status !== 404) throw replyError(reply, call.what);
    const error = await this.#explainMissing(key, reply, call);
    if (error.code === 'STORAGE_NOT_FOUND') return true;
    throw error;
  }

  async retain(key: string, until: Date, options: RetainOptions = {}): Promise<Date> {
    const { ifBefore = until, signal } = options;
    const call = { what: `locking ${key}`, signal };
    this.#begin(signal, call.what);
    checkKey(key);
    const mode = this.#upload.retention;
    if (mode === undefined)
      throw new ArchiveError('STORAGE_UNSUPPORTED', `${key} cannot be locked: the storage has no "retention"`);
    const path = this.#client.objectPath(key, { fields: 'retention' });
    const look = await this.#client.call({ ...call, method: 'GET', path });
    if (look.status === 404) throw await this.#explainMissing(key, look, call);
    if (look.status !== 200) throw replyError(look, call.what);
    const { retention } = parsed(look, call.what) as { retention?: { retainUntilTime?: string } };
    const end = new Date(retention?.retainUntilTime ?? 0);
    if (end >= ifBefore || end >= until) return end;
    const body = [Buffer.from(JSON.stringify({ retention: { mode, retainUntilTime: until.toISOString() } }))];
    const headers = { 'content-type': 'application/json' };
    const reply = await this.#client.call({ ...call, method: 'PATCH', path, headers, body });
    if (reply.status === 404) throw await this.#explainMissing(key, reply, call);
    if (reply.status !== 200) throw replyError(reply, call.what);
    return until;
  }

  asOf(moment: Date): Storage {
    return new PastStorage({
      client: this.#client,
      moment,
      warn: (message) => this.#context.logger?.warn({}, message),
      close: () => this.close(),
    });
  }

  /**
   * What 404 means for an object: it is not there only if the server says so of the object, or if its bucket can be listed. A look
   * at the bucket itself would need a right that readers do not have.
   */
  async #explainMissing(key: string, reply: Reply, call: Pick<HttpCall, 'what' | 'signal'>): Promise<ArchiveError> {
    const { bucket } = this.#client;
    if (isBucketMissing(reply)) return bucketMissing(bucket, call.what);
    if (!isObjectMissing(reply, bucket, key)) {
      const path = this.#client.objectsPath({ prefix: key, maxResults: '1', fields: 'nextPageToken' });
      const listing = await this.#client.call({ ...call, method: 'GET', path });
      if (listing.status === 404) return bucketMissing(bucket, call.what);
      if (listing.status !== 200) return replyError(listing, call.what);
    }
    return new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${key}`);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#client.close();
  }

  #begin(signal: AbortSignal | undefined, what: string): void {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
  }
}

function infoOf({ name, size, timeCreated, metadata }: ObjectResource): ObjectInfo {
  const info = { key: name, size: Number(size), modified: Date.parse(timeCreated) };
  return metadata === undefined ? info : { ...info, metadata };
}
