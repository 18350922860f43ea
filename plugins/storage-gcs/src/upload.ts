import { createHash, getFips, randomBytes, type Hash } from 'node:crypto';
import { ArchiveError, checkedBody, isArchiveError, putStep, type PutOptions } from '@pgark/sdk';
import { blocksOf, withoutFirst, type Block } from './body-blocks.ts';
import type { GcsClient } from './gcs-client.ts';
import type { HttpCall } from './http-client.ts';
import { bucketMissing, isExisting, replyError, type Reply } from './gcs-error.ts';

/** What all new objects of a storage have in common. */
export interface UploadSettings {
  readonly chunkSize: number;
  readonly storageClass: string | undefined;
  readonly kmsKeyName: string | undefined;
  readonly retention: 'Unlocked' | 'Locked' | undefined;
}

const CONTENT_TYPE = 'application/octet-stream';

/** Milliseconds for the request that gives up a session; the server forgets one by itself after a week. */
const ABANDON_MS = 5000;

/**
 * Stores one object: a body of up to `chunkSize` bytes by one request, a longer one by a resumable upload, of which the server shows
 * nothing until its last chunk. While a chunk is on its way the next one is filled; two are all that is held in memory.
 *
 * Every request can be sent again. A resumable upload is first asked how far it has come; where the answer to a last request is lost and
 * nothing else tells, the object under the key must have the bytes that were sent.
 */
export class Upload {
  readonly #client: GcsClient;
  readonly #settings: UploadSettings;
  readonly #key: string;
  readonly #options: PutOptions;
  readonly #what: string;
  /** Reads the object under the key. */
  readonly #read: () => AsyncIterable<Uint8Array>;
  /** Compared by the server before it shows the object. FIPS 140 has no MD5. */
  readonly #md5: Hash | undefined = getFips() === 1 ? undefined : createHash('md5');
  /** Path of the resumable upload, once there is one. */
  #session: string | undefined;
  #sent = 0;

  constructor(
    client: GcsClient,
    settings: UploadSettings,
    key: string,
    options: PutOptions,
    read: () => AsyncIterable<Uint8Array>,
  ) {
    this.#client = client;
    this.#settings = settings;
    this.#key = key;
    this.#options = options;
    this.#what = `storing ${key}`;
    this.#read = read;
  }

  async run(body: AsyncIterable<Uint8Array>): Promise<void> {
    const { size, signal } = this.#options;
    // Stops the reading of the body when sending fails, and the sending when reading does.
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    let sending = Promise.resolve();
    let failure: { readonly error: unknown } | undefined;
    try {
      const source = checkedBody(body, { key: this.#key, size, signal: either });
      for await (const block of blocksOf(source, this.#settings.chunkSize)) {
        await sending;
        sending = this.#send(block, either).catch((error: unknown) => {
          failure ??= { error };
          stop.abort();
        });
      }
      await sending;
      if (failure !== undefined) throw failure.error;
    } catch (error) {
      const first = failure?.error ?? error;
      stop.abort();
      await sending;
      await this.#abandon();
      throw first;
    }
  }

  async #send(block: Block, signal: AbortSignal): Promise<void> {
    for (const piece of block.pieces) this.#md5?.update(piece);
    if (block.last && this.#session === undefined) return this.#sendWhole(block, signal);
    this.#session ??= await this.#begin(signal);
    return this.#sendPart(block, this.#session, signal);
  }

  async #sendWhole(block: Block, signal: AbortSignal): Promise<void> {
    const boundary = randomBytes(24).toString('hex');
    const md5Hash = this.#md5?.digest('base64');
    const head = [
      `--${boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n`,
      JSON.stringify({ ...this.#resource(), ...(md5Hash === undefined ? {} : { md5Hash }) }),
      `\r\n--${boundary}\r\ncontent-type: ${CONTENT_TYPE}\r\n\r\n`,
    ];
    const request = {
      what: this.#what,
      method: 'POST',
      path: this.#client.uploadPath({ uploadType: 'multipart', ...this.#query() }),
      headers: { 'content-type': `multipart/related; boundary=${boundary}` },
      body: [Buffer.from(head.join('')), ...block.pieces, Buffer.from(`\r\n--${boundary}--\r\n`)],
      commits: true,
      signal,
    } as const;
    let sent = false;
    await putStep(this.#options, { name: 'completion' }, async (stop, moved) => {
      const again = sent;
      if (again && (await this.#isStored(() => this.#hasBytes(block)))) return;
      sent = true;
      const reply = await this.#client.call({ ...request, stop, moved });
      // The request of an earlier attempt can take effect as late as this.
      if (again && isExisting(reply) && (await this.#isStored(() => this.#hasBytes(block)))) return;
      this.#finish(reply, block.byteLength);
    });
  }

  /** Whether the object is there and is ours. `STORAGE_EXISTS` when it is another writer's. */
  async #isStored(compare: () => Promise<boolean>): Promise<boolean> {
    try {
      if (await compare()) return true;
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return false;
      throw error;
    }
    if (this.#options.ifAbsent) throw existing(this.#key);
    return false;
  }

  async #hasBytes(block: Block): Promise<boolean> {
    const bytes = Buffer.concat(block.pieces);
    let position = 0;
    for await (const chunk of this.#read()) {
      if (Buffer.compare(chunk, bytes.subarray(position, position + chunk.byteLength)) !== 0) return false;
      position += chunk.byteLength;
    }
    return position === bytes.byteLength;
  }

  async #hasDigest(length: number, md5: string | undefined): Promise<boolean> {
    const path = this.#client.objectPath(this.#key, { fields: 'size,md5Hash' });
    const reply = await this.#client.call({ what: this.#what, method: 'GET', path });
    if (reply.status === 404) throw new ArchiveError('STORAGE_NOT_FOUND', `there is no object ${this.#key}`);
    if (reply.status !== 200) throw replyError(reply, this.#what);
    return md5 !== undefined && sizeOf(reply) === length && fieldOf(reply, 'md5Hash') === md5;
  }

  /** A session of which nobody heard holds nothing, and the server forgets it by itself. */
  async #begin(signal: AbortSignal): Promise<string> {
    let session: string | undefined;
    return putStep(this.#options, { name: 'begin of the upload', signal }, async (stop) => {
      session ??= await this.#tryBegin(stop);
      return session;
    });
  }

  async #tryBegin(signal: AbortSignal): Promise<string> {
    const { size } = this.#options;
    const reply = await this.#client.call({
      what: this.#what,
      method: 'POST',
      path: this.#client.uploadPath({ uploadType: 'resumable', ...this.#query() }),
      headers: {
        'content-type': 'application/json; charset=UTF-8',
        'x-upload-content-type': CONTENT_TYPE,
        ...(size === undefined ? {} : { 'x-upload-content-length': String(size) }),
      },
      body: [Buffer.from(JSON.stringify(this.#resource()))],
      signal,
    });
    if (reply.status !== 200 && reply.status !== 201) throw this.#error(reply);
    const { location } = reply.headers;
    if (typeof location !== 'string') {
      throw new ArchiveError('STORAGE_UNAVAILABLE', `${this.#what} failed: the server gave no place for the upload`);
    }
    // Only the path: behind a private endpoint the server may name itself by another address.
    const { pathname, search } = new URL(location, 'https://storage.googleapis.com');
    return pathname + search;
  }

  /** Sends a block, the rest of it again from where the server says that it has come to, and the last one with the checksum. */
  async #sendPart(block: Block, session: string, signal: AbortSignal): Promise<void> {
    const begin = this.#sent;
    const part = { block, session, begin, end: begin + block.byteLength };
    const md5 = block.last ? this.#md5?.digest('base64') : undefined;
    const cancel = block.last ? {} : { signal };
    let sent = false;
    const lost = await putStep(this.#options, { name: `chunk at ${begin}`, ...cancel }, async (stop, moved) => {
      if (block.last ? this.#session === undefined : this.#sent === part.end) return undefined; // it has arrived
      const again = sent;
      if (again && (await this.#isSent(part, stop, md5))) return undefined;
      sent = true;
      return this.#trySend(part, { signal, stop, moved, again }, md5);
    });
    // Nothing that is left of it in memory helps: only another upload does.
    if (lost !== undefined) throw lost;
  }

  /** Asks how far the upload has come. True when all of this part has arrived. */
  async #isSent({ block, session, begin, end }: Part, signal: AbortSignal, md5: string | undefined): Promise<boolean> {
    const range = `bytes */${block.last ? end : '*'}`;
    const headers = { 'content-range': range };
    const reply = await this.#client.call({
      what: this.#what,
      method: 'PUT',
      path: session,
      headers,
      body: [],
      signal,
    });
    if (reply.status === 308) {
      const persisted = persistedBytes(reply);
      if (persisted >= begin && persisted <= end) this.#sent = persisted;
      // Where the server has less than it said before, the next request finds that out.
      return !block.last && persisted === end;
    }
    if (block.last && (isGone(reply) || isExisting(reply))) return this.#isStored(() => this.#hasDigest(end, md5));
    if (block.last && reply.status < 300) {
      this.#finish(reply, end);
      return true;
    }
    if (isGone(reply)) return false;
    throw this.#error(reply);
  }

  /** Gives the error of an upload that cannot go on, and throws any other. `again` says that the part was sent before. */
  async #trySend(
    { block, session, begin, end }: Part,
    { again, ...call }: Sending & { readonly again: boolean },
    md5: string | undefined,
  ): Promise<ArchiveError | undefined> {
    while (this.#sent < end || (block.last && this.#session !== undefined)) {
      if (this.#sent >= end) return this.#lost(end);
      const reply = await this.#client.call({
        what: this.#what,
        method: 'PUT',
        path: session,
        headers: {
          'content-type': CONTENT_TYPE,
          'content-range': `bytes ${this.#sent}-${end - 1}/${block.last ? end : '*'}`,
          ...(md5 === undefined ? {} : { 'x-goog-hash': `md5=${md5}` }),
        },
        body: withoutFirst(block.pieces, this.#sent - begin),
        commits: block.last,
        ...call,
      });
      if (reply.status !== 308) {
        // Before the last block there is nothing to be finished.
        if (!block.last && reply.status < 300) return this.#lost(this.#sent);
        // The request of an earlier attempt can take effect as late as this.
        const mayBeOurs = again && block.last && (isGone(reply) || isExisting(reply));
        if (mayBeOurs && (await this.#isStored(() => this.#hasDigest(end, md5)))) return undefined;
        if (isGone(reply)) return this.#error(reply);
        this.#finish(reply, end);
        return undefined;
      }
      const persisted = persistedBytes(reply);
      if (persisted <= this.#sent || persisted > end) return this.#lost(persisted);
      this.#sent = persisted;
    }
    return undefined;
  }

  #lost(persisted: number): ArchiveError {
    const message = `${this.#what} failed: the server says that it has ${persisted} bytes, ${this.#sent} were sent before`;
    return new ArchiveError('STORAGE_UNAVAILABLE', message);
  }

  /** Checks the answer to the request that makes the object visible. */
  #finish(reply: Reply, length: number): void {
    if (reply.status !== 200 && reply.status !== 201) throw this.#error(reply);
    this.#session = undefined;
    const size = sizeOf(reply);
    if (size === length) return;
    throw new ArchiveError('STORAGE_CORRUPT', `${this.#key} has ${size} bytes in the storage, ${length} were sent`);
  }

  #error(reply: Reply): ArchiveError {
    if (this.#options.ifAbsent && isExisting(reply)) return existing(this.#key);
    if (reply.status !== 404) return replyError(reply, this.#what);
    // A new object cannot be missing: it is the bucket, or the session.
    if (this.#session === undefined) return bucketMissing(this.#client.bucket, this.#what);
    return new ArchiveError('STORAGE_UNAVAILABLE', `${this.#what} failed: the server has forgotten the upload`);
  }

  /** Frees what the server holds of an upload that was begun. It shows nobody any of it, so it does not matter if that fails. */
  async #abandon(): Promise<void> {
    if (this.#session === undefined) return;
    const what = `giving up ${this.#what}`;
    const signal = AbortSignal.timeout(ABANDON_MS);
    await this.#client.call({ what, method: 'DELETE', path: this.#session, signal }).catch(() => undefined);
  }

  #query(): Record<string, string | undefined> {
    return { ifGenerationMatch: this.#options.ifAbsent ? '0' : undefined, kmsKeyName: this.#settings.kmsKeyName };
  }

  #resource(): Record<string, unknown> {
    const { metadata, retainUntil } = this.#options;
    const { storageClass, retention } = this.#settings;
    // A time that has passed is refused by the server and would protect nothing.
    const retained = retention !== undefined && retainUntil !== undefined && retainUntil.getTime() > Date.now();
    return {
      name: this.#key,
      contentType: CONTENT_TYPE,
      ...(metadata === undefined ? {} : { metadata }),
      ...(storageClass === undefined ? {} : { storageClass }),
      ...(retained ? { retention: { mode: retention, retainUntilTime: retainUntil.toISOString() } } : {}),
    };
  }
}

/** A block of a resumable upload: the bytes of the object from `begin` up to `end`. */
interface Part {
  readonly block: Block;
  readonly session: string;
  readonly begin: number;
  readonly end: number;
}

/** What one attempt of a step gives to its request. */
type Sending = Required<Pick<HttpCall, 'signal' | 'stop' | 'moved'>>;

/** Whether the server does not know the upload any more, or says that it is over. */
function isGone(reply: Reply): boolean {
  return reply.status === 404 || reply.status === 410 || reply.status === 499;
}

function existing(key: string): ArchiveError {
  return new ArchiveError('STORAGE_EXISTS', `the object ${key} exists`);
}

/** The count in `Range: bytes=0-262143`; without that header the server has nothing. */
function persistedBytes(reply: Reply): number {
  const { range } = reply.headers;
  const last = typeof range === 'string' ? /^bytes=0-(\d+)$/.exec(range)?.[1] : undefined;
  return last === undefined ? 0 : Number(last) + 1;
}

function sizeOf(reply: Reply): number {
  return Number(fieldOf(reply, 'size'));
}

function fieldOf(reply: Reply, name: 'size' | 'md5Hash'): unknown {
  try {
    return (JSON.parse(reply.text) as Readonly<Record<string, unknown>>)[name];
  } catch {
    return undefined; // no JSON: the caller says that it is not what it should be
  }
}
