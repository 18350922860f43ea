import type { BlockBlobClient } from '@azure/storage-blob';
import { ArchiveError, resolveRange, throwIfAborted, type GetOptions } from '@pgark/sdk';
import { faultIn } from './azure-error.ts';
import { Watch } from './watch.ts';

/** Reads an object, or a range of it. Leaving the loop closes the connection. */
export async function* download(
  blob: BlockBlobClient,
  key: string,
  options: GetOptions,
  timeout: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { range, signal } = options;
  const what = `reading ${key}`;
  // What is no range at all is refused before anything is asked for.
  resolveRange(key, range, Number.MAX_SAFE_INTEGER);
  const start = range?.start ?? 0;
  const watch = new Watch({ what, signal, timeout });
  try {
    if (range?.end === start) {
      // No request can ask for nothing; whether the range lies within the object is still to be told.
      const { contentLength } = await watch.during(() => blob.getProperties({ abortSignal: watch.signal }));
      resolveRange(key, range, contentLength ?? 0);
      return;
    }
    const stream = await open(blob, key, start, options, watch);
    if (stream === undefined) return;
    // It may still fail when nobody listens any more, after an abort.
    stream.on('error', () => undefined);
    try {
      const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
      for (;;) {
        // The stream knows the length, and fails when the connection ends before it.
        const step = await watch.during(() => chunks.next());
        if (step.done === true) return;
        yield step.value;
        throwIfAborted(signal, what);
      }
    } finally {
      destroy(stream);
    }
  } finally {
    watch.end();
  }
}

/** Undefined for an object without bytes. */
async function open(
  blob: BlockBlobClient,
  key: string,
  start: number,
  { range }: GetOptions,
  watch: Watch,
): Promise<NodeJS.ReadableStream | undefined> {
  const count = range?.end === undefined ? undefined : range.end - start;
  const answer = await watch
    .during(() => blob.download(start, count, { abortSignal: watch.signal, maxRetryRequests: 0 }))
    .catch((error: unknown) => {
      if (faultIn(error)?.status !== 416) throw error;
      // No range starts within an empty object.
      if (start === 0) return undefined;
      throw new ArchiveError('STORAGE_INVALID_KEY', `a range of ${key} starts at ${start}, at or behind its end`);
    });
  if (answer === undefined) return undefined;
  const stream = answer.readableStreamBody;
  try {
    if (stream === undefined) throw wrongAnswer(key, 'has no body');
    if (start > 0 || count !== undefined) checkRange(key, range, answer.contentRange);
    return stream;
  } catch (error) {
    destroy(stream);
    throw error;
  }
}

/** That the answer is the range that was asked for. Azurite answers one that starts at the end with nothing. */
function checkRange(key: string, range: GetOptions['range'], contentRange: string | undefined): void {
  const [, start, size] = /^bytes (\d+)--?\d+\/(\d+)$/.exec(contentRange ?? '') ?? [];
  if (size === undefined) throw wrongAnswer(key, 'does not name its range');
  resolveRange(key, range, Number(size));
  if (Number(start) !== range?.start) throw wrongAnswer(key, `has the range ${contentRange}`);
}

function wrongAnswer(key: string, fault: string): ArchiveError {
  return new ArchiveError('STORAGE_UNAVAILABLE', `reading ${key} failed: the answer ${fault}`);
}

function destroy(stream: NodeJS.ReadableStream | undefined): void {
  (stream as { destroy?: () => void } | undefined)?.destroy?.();
}
