import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { CompletedPart, CreateMultipartUploadCommandInput, S3 } from '@aws-sdk/client-s3';
import { isArchiveError, putStep, throwIfAborted, type ArchiveError, type PutOptions } from '@pgark/sdk';
import { sending } from './body-slices.ts';
import { allocate, type BlockReader } from './block-reader.ts';
import type { Settings } from './options.ts';
import { codeOf, s3Error } from './s3-error.ts';

/** Milliseconds for which an upload that failed waits for parts on their way. */
const GRACE = 2000;

/** Milliseconds after which a part that was cut off has arrived or never will. */
const LATE = 1000;

/** Milliseconds for the end of an upload that failed: the caller waits for his error so long. */
const END = 30_000;

/** What stays the same over one upload. */
export interface UploadContext {
  readonly s3: S3;
  readonly settings: Settings;
  /** Bucket, key, and what the object is to have: metadata, encryption, lock. */
  readonly target: CreateMultipartUploadCommandInput & { readonly Key: string };
  /** Those of the put: how its steps are run. */
  readonly options: PutOptions;
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

  /**
   * Not cancelled by the signal of the put: an upload whose id did not arrive is left behind for ever. It has no parts, so it costs nothing.
   */
  static async begin(context: UploadContext): Promise<MultipartUpload> {
    const { s3, target, options } = context;
    let upload: MultipartUpload | undefined;
    return putStep(options, { name: 'begin of the upload' }, async (signal) => {
      if (upload !== undefined) return upload;
      try {
        const input = { ...target, ...checksumOf(context.settings) };
        const { UploadId } = await s3.createMultipartUpload(input, { abortSignal: signal });
        if (UploadId === undefined) throw new Error('the answer has no upload id');
        upload = new MultipartUpload(context, UploadId);
        return upload;
      } catch (error) {
        throw s3Error(error, `storing ${target.Key}`, 'bucket');
      }
    });
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
      if (isWhole(this.#context.settings)) this.#checksum = crc32(bytes, this.#checksum);
      await this.#room(bytes.byteLength, signal);
      const sent = this.#sendPart(number, bytes)
        .then(
          () => void this.#free.push(memory),
          (error: unknown) => {
            this.#failure ??= { error };
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
    const { s3, settings, target, options } = this.#context;
    const part = { Bucket: target.Bucket, Key: target.Key, UploadId: this.#id, PartNumber: number, Body: bytes };
    const sent = await putStep(
      options,
      { name: `part ${number}`, signal: this.#cancel.signal },
      async (signal, moved) => {
        try {
          return await s3.uploadPart(part, sending(signal, moved));
        } catch (error) {
          return this.#lostOr(error);
        }
      },
    );
    if (isArchiveError(sent)) throw sent;
    const { ETag, ChecksumCRC32 } = sent;
    if (ETag === undefined) throw s3Error(new Error(`the answer to part ${number} has no ETag`), this.#what, 'bucket');
    const checksum = settings.checksums === 'crc32' && ChecksumCRC32 !== undefined ? { ChecksumCRC32 } : {};
    this.#parts.push({ PartNumber: number, ETag, ...checksum });
  }

  /** Gives the error of an upload that the service does not know any more, which no other attempt helps; throws any other. */
  #lostOr(error: unknown): ArchiveError {
    const failure = s3Error(error, this.#what, 'bucket');
    if (codeOf(error) === 'NoSuchUpload') return failure;
    throw failure;
  }

  /** Makes the object of the parts. The error is that of the SDK: the caller tells a key that is taken from the rest. */
  async complete(condition: { readonly IfNoneMatch?: '*' }, signal: AbortSignal): Promise<void> {
    const { s3, settings, target } = this.#context;
    const parts = this.#parts.toSorted((left, right) => (left.PartNumber ?? 0) - (right.PartNumber ?? 0));
    const whole = Buffer.alloc(4);
    whole.writeUInt32BE(this.#checksum);
    await s3.completeMultipartUpload(
      {
        Bucket: target.Bucket,
        Key: target.Key,
        UploadId: this.#id,
        MultipartUpload: { Parts: parts },
        ...(isWhole(settings) ? { ChecksumType: 'FULL_OBJECT', ChecksumCRC32: whole.toString('base64') } : {}),
        ...condition,
      },
      { abortSignal: signal },
    );
  }

  /**
   * Removes the parts: they cost money, and no listing of objects shows them.
   *
   * A part whose last byte the service has stays if it is put away after the upload was aborted. So those on their way may arrive
   * first; where that takes too long they are cut off, and the upload is aborted once more when a late one would be there. `persistent`
   * says to try again where the service does not answer; whoever gave the body has his error after `END` at the latest.
   */
  async abandon({ persistent }: { readonly persistent: boolean }): Promise<void> {
    const timer = setTimeout(() => this.#cancel.abort(), GRACE);
    await Promise.all(this.#sending);
    clearTimeout(timer);
    if (!(await this.#abort(persistent)) || !this.#cancel.signal.aborted) return;
    await sleep(LATE);
    await this.#abort(persistent);
  }

  /** Whether the service has forgotten the upload. */
  async #abort(persistent: boolean): Promise<boolean> {
    const { s3, target, warn, options } = this.#context;
    const upload = { Bucket: target.Bucket, Key: target.Key, UploadId: this.#id };
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), END);
    try {
      await putStep(persistent ? options : {}, { name: 'end of the upload', signal: over.signal }, async (signal) => {
        await s3.abortMultipartUpload(upload, { abortSignal: signal }).catch((error: unknown) => this.#lostOr(error));
      });
      return true;
    } catch (error) {
      // The error that led here says more to the caller.
      warn(
        { key: target.Key, uploadId: this.#id, error },
        'parts of an upload that failed were left in the bucket; a lifecycle rule should remove such parts',
      );
      return false;
    } finally {
      clearTimeout(timer);
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
