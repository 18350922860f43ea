import {
  ArchiveError,
  checkKey,
  resolveRange,
  throwIfAborted,
  type CallOptions,
  type GetOptions,
  type ListOptions,
  type ObjectInfo,
  type PutOptions,
  type RemoveResult,
  type Secret,
  type Storage,
  type StorageCapabilities,
} from '@pgark/sdk';
import { DepotClient, type DepotAnswer, type DepotRequest } from './depot-client.ts';
import { refusalError } from './depot-error.ts';
import { Upload } from './upload.ts';

export interface DepotStorageOptions {
  readonly url: string;
  readonly bucket: string;
  readonly token: Secret;
  /** Bytes; default 8 MiB. */
  readonly blockSize?: number;
  /** Default 60. */
  readonly idleSeconds?: number;
}

/** Requests that remove objects, at once. */
const REMOVALS = 8;

/** Objects in a bucket of a depot. */
export class DepotStorage implements Storage {
  readonly capabilities: StorageCapabilities = { conditionalPut: true, retention: false, metadata: false };
  readonly #client: DepotClient;
  readonly #blockSize: number;
  #closed = false;

  constructor({ url, bucket, token, blockSize = 8 * 1024 * 1024, idleSeconds = 60 }: DepotStorageOptions) {
    this.#client = new DepotClient({ url, bucket, token, idle: idleSeconds * 1000 });
    this.#blockSize = blockSize;
  }

  async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    this.#begin(`storing ${key}`, options);
    await new Upload(this.#client, objectPath(key), key, options).run(body, this.#blockSize);
  }

  async *get(key: string, options: GetOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { range, signal } = options;
    const what = `reading ${key}`;
    this.#begin(what, options);
    const path = objectPath(key);
    // HTTP has no form for a range of no bytes, and none for a mistaken one: the size decides.
    if (range !== undefined && !hasForm(range)) {
      resolveRange(key, range, (await this.stat(key, options)).size);
      return;
    }
    const headers = range === undefined ? {} : { range: `bytes=${range.start}-${lastByte(range.end)}` };
    const answer = await this.#client.send({ what, method: 'GET', path, headers, signal });
    const { status, headers: given } = answer.response;
    if (status === 416) {
      await drain(answer);
      resolveRange(key, range, Number(/\/(\d+)$/.exec(given.get('content-range') ?? '')?.[1]));
      return; // the beginning of an empty object
    }
    if (status !== (range === undefined ? 200 : 206)) throw await refused(answer, what);
    const expected = Number(given.get('content-length'));
    let position = 0;
    for await (const chunk of answer.chunks()) {
      throwIfAborted(signal, what);
      position += chunk.byteLength;
      yield chunk;
    }
    if (position === expected) return;
    throw new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: ${position} of ${expected} bytes came`);
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectInfo> {
    const what = `looking up ${key}`;
    this.#begin(what, options);
    const { response } = await this.#done({ what, method: 'HEAD', path: objectPath(key), ...options });
    const modified = Date.parse(response.headers.get('last-modified') ?? '');
    return { key, size: Number(response.headers.get('content-length')), modified };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo, void, undefined> {
    const what = `listing ${prefix}`;
    this.#begin(what, options);
    for (let after = options.startAfter ?? ''; ;) {
      const query = new URLSearchParams({ prefix, after });
      const request = { what, method: 'GET', path: `/objects?${query.toString()}`, signal: options.signal } as const;
      const { text } = await this.#done(request);
      const page = JSON.parse(text) as { readonly objects: readonly ObjectInfo[]; readonly more: boolean };
      for (const object of page.objects) {
        throwIfAborted(options.signal, what);
        yield object;
        after = object.key;
      }
      if (!page.more) return;
    }
  }

  async remove(keys: readonly string[], options: CallOptions = {}): Promise<RemoveResult> {
    this.#begin('removing objects', options);
    const paths = keys.map((key) => ({ key, path: objectPath(key) })).values();
    // All take from one list, so that so many are at work until it is empty.
    const worker = async (): Promise<void> => {
      for (const { key, path } of paths) await this.#removeOne(key, path, options);
    };
    const results = await Promise.allSettled(Array.from({ length: REMOVALS }, worker));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return { retained: [] };
  }

  async #removeOne(key: string, path: string, { signal }: CallOptions): Promise<void> {
    const what = `removing ${key}`;
    const answer = await this.#client.send({ what, method: 'DELETE', path, signal });
    if (answer.response.status === 204) return drain(answer);
    const error = await refused(answer, what);
    if (error.code !== 'STORAGE_NOT_FOUND') throw error;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#client.close();
  }

  #begin(what: string, { signal }: CallOptions): void {
    if (this.#closed) throw new ArchiveError('INTERNAL', `${what} failed: the storage is closed`);
    throwIfAborted(signal, what);
  }

  /** Sends a request that has to succeed, and reads the answer. */
  async #done(request: DepotRequest): Promise<{ readonly response: Response; readonly text: string }> {
    const answer = await this.#client.send(request);
    if (!answer.response.ok) throw await refused(answer, request.what);
    const pieces: Uint8Array[] = [];
    for await (const chunk of answer.chunks()) pieces.push(chunk);
    return { response: answer.response, text: Buffer.concat(pieces).toString() };
  }
}

function objectPath(key: string): string {
  return `/objects/${checkKey(key).split('/').map(encodeURIComponent).join('/')}`;
}

function hasForm({ start, end }: NonNullable<GetOptions['range']>): boolean {
  return Number.isSafeInteger(start) && start >= 0 && (end === undefined || (Number.isSafeInteger(end) && end > start));
}

function lastByte(end: number | undefined): string {
  return end === undefined ? '' : String(end - 1);
}

async function refused(answer: DepotAnswer, what: string): Promise<ArchiveError> {
  await drain(answer);
  return refusalError(answer.response, what);
}

/** Reads what is left, so that the connection can be used again. */
async function drain(answer: DepotAnswer): Promise<void> {
  for await (const _ of answer.chunks()) continue;
}
