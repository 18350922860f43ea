/** Several streams begun ahead of their turn, each read in its turn. */
import { throwIfAborted } from '../contracts/errors.ts';
import { isLeased, releaseChunk } from '../contracts/lease.ts';
import { ByteQueue } from '../pipeline/queue.ts';

/** Bytes of a stream that are read before its turn. */
const AHEAD = 16 * 1024 * 1024;

export interface Begun<Item> {
  readonly item: Item;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * Gives the items in their order, each with its stream, of which the beginning may be there already: so many are under way at once. A stream
 * that fails, fails where it is read. When the loop ends, all end.
 */
export async function* readAhead<Item>(
  items: AsyncIterable<Item>,
  open: (item: Item, signal: AbortSignal) => AsyncIterable<Uint8Array>,
  { atOnce, signal }: { readonly atOnce: number; readonly signal?: AbortSignal },
): AsyncGenerator<Begun<Item>> {
  const cancel = new AbortController();
  const either = signal === undefined ? cancel.signal : AbortSignal.any([signal, cancel.signal]);
  const begun: Begun<Item>[] = [];
  const pumps = new Set<Promise<void>>();
  const source = items[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      while (!ended && begun.length < atOnce) {
        throwIfAborted(signal, 'the verification');
        const step = await source.next();
        if (step.done === true) {
          ended = true;
          break;
        }
        const queue = new ByteQueue({ limit: AHEAD });
        const pumped = pump(open(step.value, either), queue).finally(() => pumps.delete(pumped));
        pumps.add(pumped);
        begun.push({ item: step.value, chunks: queue });
      }
      const next = begun.shift();
      if (next === undefined) return;
      yield next;
    }
  } finally {
    cancel.abort();
    await source.return?.(undefined);
    // Who waits in a queue that nobody reads any more goes on when its reader leaves.
    for (const { chunks } of begun) await chunks[Symbol.asyncIterator]().return?.(undefined);
    await Promise.all(pumps);
  }
}

/** Never rejects: the reader of the queue gets what went wrong. */
async function pump(source: AsyncIterable<Uint8Array>, queue: ByteQueue): Promise<void> {
  try {
    for await (const chunk of source) {
      queue.write(chunk);
      if (isLeased(chunk)) releaseChunk(chunk);
      await queue.pressure();
    }
    queue.end();
  } catch (error) {
    queue.fail(error);
  }
}
