import type { Transform } from 'node:stream';
import { throwIfAborted } from 'pgark/contracts';
import { abortable } from './abortable.ts';

export interface ThroughOptions {
  readonly signal?: AbortSignal;
  /** What is being done, for the message of `ABORTED`. */
  readonly what: string;
  /** Turns an error of the transform into what the reader is told. */
  readonly failed: (error: unknown) => Error;
  /** What the reader is told when the transform ends its output although input is left. */
  readonly unread: () => Error;
}

/**
 * Sends a stream through one of the transforms of `node:zlib`, for formats that cannot be worked on block by block.
 *
 * The next chunk of the source is asked for when the one before is used up, so memory is bounded by the transform's own
 * buffers. Errors of the source come as they were thrown. When the reader leaves, the transform is destroyed and the
 * source is ended.
 */
export async function* throughStream(
  source: AsyncIterable<Uint8Array>,
  transform: Transform & { readonly bytesWritten: number },
  options: ThroughOptions,
): AsyncGenerator<Uint8Array> {
  const { signal, what, failed, unread } = options;
  let sourceError: { readonly error: unknown } | undefined;
  let fed = 0;
  let ended = false;
  const feed = async (): Promise<void> => {
    try {
      for await (const chunk of abortable(source, signal, what)) {
        fed += chunk.byteLength;
        if (!(await write(transform, chunk))) return;
      }
      ended = true;
      transform.end();
    } catch (error) {
      sourceError = { error };
      transform.destroy();
    }
  };
  const feeding = feed();
  const output = transform[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  try {
    for (;;) {
      const step = await output.next().catch((error: unknown) => {
        throw sourceError === undefined ? failed(error) : sourceError.error;
      });
      if (step.done === true) break;
      yield step.value;
      throwIfAborted(signal, what);
    }
    if (sourceError !== undefined) throw sourceError.error;
    if (!ended || transform.bytesWritten !== fed) throw unread();
  } finally {
    transform.destroy();
    await feeding;
  }
}

/** Resolves when the transform has used the chunk up; false when it will not: it failed, or ended before its input did. */
function write(transform: Transform, chunk: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    const closed = (): void => resolve(false);
    transform.once('close', closed);
    transform.write(chunk, (error) => {
      transform.removeListener('close', closed);
      resolve(error === null || error === undefined);
    });
  });
}
