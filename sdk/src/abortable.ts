import { ArchiveError } from 'pgark/contracts';

/**
 * The same stream, but waiting for its next item ends with `ABORTED` when the signal fires, even if the source never
 * answers. The source is then told to end, and not waited for; that holds, too, when the signal fires while its end is waited for, after
 * the reader has left. Errors of the source come as they were thrown.
 */
export function abortable<Item>(
  source: AsyncIterable<Item>,
  signal: AbortSignal | undefined,
  what: string,
): AsyncIterableIterator<Item> {
  const iterator = source[Symbol.asyncIterator]();
  let ended: Promise<unknown> | undefined;
  const abandon = (): ArchiveError => {
    // The reader is told of the abort; how a source that was left behind ends concerns nobody.
    ended ??= Promise.resolve(iterator.return?.()).catch(() => undefined);
    return new ArchiveError('ABORTED', `${what} was cancelled`, { cause: signal?.reason });
  };
  return {
    next(): Promise<IteratorResult<Item>> {
      if (signal === undefined) return iterator.next();
      if (signal.aborted) return Promise.reject(abandon());
      return new Promise((resolve, reject) => {
        const cancel = (): void => reject(abandon());
        signal.addEventListener('abort', cancel);
        iterator
          .next()
          .finally(() => signal.removeEventListener('abort', cancel))
          .then(resolve, reject);
      });
    },
    async return(): Promise<IteratorResult<Item>> {
      if (ended === undefined) await unlessAborted(Promise.resolve(iterator.return?.()), signal);
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** Waits for the promise, but no longer than until the signal fires. */
function unlessAborted(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const leave = (): void => resolve(undefined);
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave);
    promise.finally(() => signal.removeEventListener('abort', leave)).then(resolve, reject);
  });
}
