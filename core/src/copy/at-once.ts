import { throwIfAborted } from '../contracts/errors.ts';

export interface AtOnceOptions {
  readonly concurrency: number;
  readonly signal?: AbortSignal;
}

/**
 * Works on items as they come, so many at once. The first failure cancels the others by the signal that the work gets, and is thrown
 * when all have ended; so is an abort.
 */
export async function atOnce<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  { concurrency, signal }: AtOnceOptions,
  work: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  const source = stepsOf(items);
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    try {
      for (;;) {
        throwIfAborted(either, 'the work');
        const step = await source.next();
        if (step.done === true) return;
        await work(step.value, either);
      }
    } catch (error) {
      failure ??= { error };
      failed.abort();
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  await source.return(undefined);
  if (failure !== undefined) throw failure.error;
}

/** A generator keeps calls of `next` in order, also when several workers ask at once. */
async function* stepsOf<Item>(items: AsyncIterable<Item> | Iterable<Item>): AsyncGenerator<Item, void, undefined> {
  yield* items;
}
