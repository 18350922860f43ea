import { ArchiveError, throwIfAborted } from 'pgark/contracts';
import { abortable } from './abortable.ts';

/**
 * Reads the body of a `put` and keeps the promises that every storage has to keep: a body of another length than
 * `size` is `STORAGE_CORRUPT` (STOR-03), an abort is `ABORTED` even while the source is silent (STOR-04), and the
 * source's own error passes unchanged (STOR-02). The source is ended on every way out.
 *
 * A chunk is only valid until the next one is asked for.
 */
export async function* checkedBody(
  body: AsyncIterable<Uint8Array>,
  options: { readonly key: string; readonly size?: number | undefined; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { key, size, signal } = options;
  const what = `storing ${key}`;
  throwIfAborted(signal, what);
  const chunks = abortable(body, signal, what);
  let total = 0;
  try {
    // Not a for loop: that ends a source it leaves early, but not one that it was called away from while waiting.
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      throwIfAborted(signal, what);
      total += next.value.byteLength;
      if (size !== undefined && total > size) {
        throw new ArchiveError('STORAGE_CORRUPT', `the body of ${key} is longer than the ${size} bytes announced`);
      }
      yield next.value;
    }
    throwIfAborted(signal, what);
    if (size !== undefined && total !== size) {
      throw new ArchiveError('STORAGE_CORRUPT', `the body of ${key} ended after ${total} of ${size} bytes`);
    }
  } finally {
    // The error on its way out says more than one of the source's clean-up.
    await chunks.return?.().catch(() => undefined);
  }
}
