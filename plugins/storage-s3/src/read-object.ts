import type { Readable } from 'node:stream';
import type { GetObjectCommandOutput, S3 } from '@aws-sdk/client-s3';
import { ArchiveError, isArchiveError, throwIfAborted, type GetOptions } from '@pgark/sdk';
import { codeOf, isExplained, s3Error, statusOf } from './s3-error.ts';

export interface ReadOptions {
  readonly bucket: string;
  readonly key: string;
  /** Default: the newest. */
  readonly version?: string | undefined;
  readonly range: GetOptions['range'];
  readonly signal: AbortSignal | undefined;
  /** Milliseconds in which a byte has to come, while one is waited for. */
  readonly idleTimeout: number;
}

/** Reads an object, or a range that is not empty. An answer with an error that has no code comes as the SDK threw it. */
export async function* readObject(s3: S3, options: ReadOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const { bucket, key, version, range, signal, idleTimeout } = options;
  const what = `reading ${key}`;
  let answer: GetObjectCommandOutput;
  try {
    const { start = 0, end } = range ?? {};
    const wanted =
      range === undefined || (start === 0 && end === undefined)
        ? {}
        : { Range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
    answer = await s3.getObject(
      { Bucket: bucket, Key: key, ...(version === undefined ? {} : { VersionId: version }), ...wanted },
      signal === undefined ? {} : { abortSignal: signal },
    );
  } catch (error) {
    throwIfAborted(signal, what);
    // Of an empty object not even the first byte can be had.
    if (range?.start === 0 && (statusOf(error) === 416 || codeOf(error) === 'InvalidRange')) return;
    throw isExplained(error) ? s3Error(error, what) : error;
  }
  const body = answer.Body as Readable;
  // An error that comes after the loop was left concerns nobody.
  body.on('error', () => undefined);
  const stop = (): void => void body.destroy(new Error('the read was cancelled'));
  signal?.addEventListener('abort', stop);
  let received = 0;
  try {
    const expected = lengthOf(answer, what, range);
    const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    for (;;) {
      throwIfAborted(signal, what);
      const next = await nextWithin(chunks, body, idleTimeout);
      throwIfAborted(signal, what);
      if (next.done === true) break;
      received += next.value.byteLength;
      yield next.value;
    }
    if (expected !== undefined && received !== expected) throw early(what, received, expected);
  } catch (error) {
    throwIfAborted(signal, what);
    throw isArchiveError(error) ? error : s3Error(error, what);
  } finally {
    signal?.removeEventListener('abort', stop);
    body.destroy();
  }
}

/** The next chunk. While this side is busy with the last one no time counts. */
async function nextWithin(
  chunks: AsyncIterator<Uint8Array>,
  body: Readable,
  milliseconds: number,
): Promise<IteratorResult<Uint8Array>> {
  const timer = setTimeout(() => {
    body.destroy(Object.assign(new Error(`no byte came for ${milliseconds} ms`), { name: 'TimeoutError' }));
  }, milliseconds);
  try {
    return await chunks.next();
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes that have to come. Throws when the answer is not to the range that was asked for. */
function lengthOf(answer: GetObjectCommandOutput, what: string, range: GetOptions['range']): number | undefined {
  const { ContentLength: length, ContentRange } = answer;
  const { start = 0, end } = range ?? {};
  const first = /^bytes (\d+)-/.exec(ContentRange ?? '')?.[1];
  // A service may answer with the whole object when that is what the range means.
  const isWhole = first === undefined && start === 0 && (end === undefined || (length !== undefined && length <= end));
  if (range === undefined || isWhole || Number(first) === start) return length;
  throw new ArchiveError(
    'STORAGE_UNAVAILABLE',
    `${what} failed: the answer begins at byte ${first ?? 0}, not ${start}`,
  );
}

function early(what: string, received: number, expected: number): ArchiveError {
  return new ArchiveError('STORAGE_UNAVAILABLE', `${what} failed: ${received} bytes came instead of ${expected}`);
}
