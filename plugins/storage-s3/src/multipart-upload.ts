import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { CompletedPart, CreateMultipartUploadCommandInput, S3 } from '@aws-sdk/client-s3';
import { throwIfAborted } from '@pgark/sdk';
import { allocate, type BlockReader } from './block-reader.ts';
import type { Settings } from './options.ts';
import { codeOf, s3Error } from './s3-error.ts';

/** Milliseconds for which an upload that failed waits for parts on their way. */
const GRACE = 2000;

/** Milliseconds after which a part that was cut off has arrived or never will. */
const LATE = 1000;

/** What stays the same over one upload. */
export interface UploadContext {
  readonly s3: S3;
  readonly settings: Settings;
  /** Bucket, key, and what the object is to have: metadata, encryption, lock. */
  readonly target: CreateMultipartUploadCommandInput & { readonly Key: string };
  /** Told that parts were left behind in the bucket. */
  readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
}

/**
 * A large object in parts, several sent at once.
 *
 * Written over the commands of the client. `Upload` of `@aws-sdk/lib-storage` gives up before its requests have ended, so that a part
 * may arrive after the upload was aborted; it does not know parts that grow, and sends its condition with every part.
 */
export class MultipartUpload {
  readonly #context: UploadContext;
  readonly #id: string;
  readonly #what: string;
  readonly #parts: CompletedPart[] = [];
  readonly #sending = new Set<Promise<void>>();
  readonly #free: Uint8Array[] = [];
  readonly #cancel = new AbortController();
  #bytes = 0;
  #checksum = 0;
  #failure: { readonly error: unknown } | undefined;

  private constructor(context: UploadContext, id: string) {
    this.#context = context;
    this.#id = id;
    this.#what = `storing ${context.target.Key}`;
  }

  /** Cannot be cancelled: an upload whose id did not arrive would be left behind for ever. */
  static async begin(context: UploadContext): Promise<MultipartUpload> {
    const { s3, target } = context;
    try {
      const { UploadId } = await s3.createMultipartUpload({ ...target, ...checksumOf(context.settings) });
      if (UploadId === undefined) throw new Error('the answer has no upload id');
      return new MultipartUpload(context, UploadId);
    } catch (error) {
      throw s3Error(error, `storing ${target.Key}`, 'bucket');
    }
  }

  /** The first failure of a part; the reading of the body is to end then. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  /** Sends all that `reader` has. `failed` is called as soon as a part fails, even while the body is silent. */
  async send(
    reader: BlockReader,
    sizeOf: (number: number) => number,
    options: { readonly signal: AbortSignal | undefined; readonly failed: () => void },
  ): Promise<void> {
    const { signal, failed } = options;
    for (let number = 1; !(await reader.isAtEnd()); number++) {
      const size = sizeOf(number);
      const memory = this.#memory(size);
      const bytes = memory.subarray(0, await reader.fill(memory));
      this.#checksum = crc32(bytes, this.#checksum);
      await this.#room(bytes.byteLength, signal);
      const sent = this.#sendPart(number, bytes)
        .then(
          () => void this.#free.push(memory),
          (error: unknown) => {
            this.#failure ??= { error: s3Error(error, this.#what, 'bucket') };
            failed();
          },
        )
        .finally(() => {
          this.#sending.delete(sent);
          this.#bytes -= bytes.byteLength;
        });
      this.#sending.add(sent);
      this.#bytes += bytes.byteLength;
    }
    while (this.#sending.size > 0) await this.#nextSent(signal);
    this.#throwFailure();
  }

  /** Memory of the size of a part; that of a part that has arrived is used again. */
  #memory(size: number): Uint8Array {
    const used = this.#free.pop();
    if (used?.byteLength === size) return used;
    this.#free.length = 0; // parts have grown
    return allocate(size);
  }

  /** Waits until so many bytes more may be on their way: `parallelParts` parts, or one that has grown beyond that. */
  async #room(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    const { parallelParts, partSize } = this.#context.settings;
    while (this.#sending.size > 0 && this.#bytes + bytes > parallelParts * partSize) await this.#nextSent(signal);
    this.#throwFailure();
  }

  /** Waits until a part has arrived or failed, or for `ABORTED`. */
  async #nextSent(signal: AbortSignal | undefined): Promise<void> {
    this.#throwFailure();
    const parts = [...this.#sending];
    if (signal === undefined) return Promise.race(parts);
    let wake: () => void = () => undefined;
    const aborted = new Promise<void>((resolve) => (wake = resolve));
    signal.addEventListener('abort', wake);
    try {
      throwIfAborted(signal, this.#what);
      await Promise.race([...parts, aborted]);
      throwIfAborted(signal, this.#what);
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #sendPart(number: number, bytes: Uint8Array): Promise<void> {
    const { s3, settings, target } = this.#context;
    const { ETag, ChecksumCRC32 } = await s3.uploadPart(
      { Bucket: target.Bucket, Key: target.Key, UploadId: this.#id, PartNumber: number, Body: bytes },
      { abortSignal: this.#cancel.signal },
    );
    if (ETag === undefined) throw new Error(`the answer to part ${number} has no ETag`);
    const checksum = settings.checksums === 'crc32' && ChecksumCRC32 !== undefined ? { ChecksumCRC32 } : {};
    this.#parts.push({ PartNumber: number, ETag, ...checksum });
  }

  /** Makes the object of the parts. The error is that of the SDK: the caller tells a key that is taken from the rest. */
  async complete(condition: { readonly IfNoneMatch?: '*' }): Promise<void> {
    const { s3, settings, target } = this.#context;
    const parts = this.#parts.toSorted((left, right) => (left.PartNumber ?? 0) - (right.PartNumber ?? 0));
    const whole = Buffer.alloc(4);
    whole.writeUInt32BE(this.#checksum);
    await s3.completeMultipartUpload({
      Bucket: target.Bucket,
      Key: target.Key,
      UploadId: this.#id,
      MultipartUpload: { Parts: parts },
      ...(isWhole(settings) ? { ChecksumType: 'FULL_OBJECT', ChecksumCRC32: whole.toString('base64') } : {}),
      ...condition,
    });
  }

  /**
   * Removes the parts: they cost money, and no listing of objects shows them.
   *
   * A part whose last byte the service has stays if it is put away after the upload was aborted. So those on their way may arrive
   * first; where that takes too long they are cut off, and the upload is aborted once more when a late one would be there.
   */
  async abandon(): Promise<void> {
    const timer = setTimeout(() => this.#cancel.abort(), GRACE);
    await Promise.all(this.#sending);
    clearTimeout(timer);
    await this.#abort();
    if (!this.#cancel.signal.aborted) return;
    await sleep(LATE);
    await this.#abort();
  }

  async #abort(): Promise<void> {
    const { s3, target, warn } = this.#context;
    try {
      await s3.abortMultipartUpload({ Bucket: target.Bucket, Key: target.Key, UploadId: this.#id });
    } catch (error) {
      if (codeOf(error) === 'NoSuchUpload') return;
      // The error that led here says more to the caller.
      warn(
        { key: target.Key, uploadId: this.#id, error: s3Error(error, this.#what, 'bucket') },
        'parts of an upload that failed were left in the bucket; a lifecycle rule should remove such parts',
      );
    }
  }
}

/** Whether the checksum is that of the whole object, which S3 compares with what it put together. */
function isWhole(settings: Settings): boolean {
  return settings.checksums === 'crc32' && settings.provider === 'aws';
}

function checksumOf(settings: Settings): Pick<CreateMultipartUploadCommandInput, 'ChecksumAlgorithm' | 'ChecksumType'> {
  if (settings.checksums !== 'crc32') return {};
  return { ChecksumAlgorithm: 'CRC32', ...(isWhole(settings) ? { ChecksumType: 'FULL_OBJECT' } : {}) };
}
