import { throwIfAborted } from 'pgark/contracts';
import { abortable } from './abortable.ts';

export interface OrderedOptions {
  /** How many items may be worked on at once; as many results again may wait to be taken. */
  readonly concurrency: number;
  readonly signal?: AbortSignal;
  /** What is being done, for the message of `ABORTED`: `zstd compression`. */
  readonly what: string;
}

/** One item under work: pending until `outcome` is there. */
interface Slot<Result> {
  readonly settled: Promise<void>;
  outcome?: { readonly value: Result } | { readonly error: unknown };
}

/**
 * Runs `work` over a stream, several items at once, and gives the results in the order of the items. It works ahead of
 * its reader, as far as `concurrency` allows.
 *
 * Errors of the source and of `work` come in their place, as they were thrown. When the reader leaves, or after an error,
 * the source is ended and all work has settled before the loop ends. After an abort (`ABORTED`) the same, except that the
 * source is told to end but not waited for: neither its next item nor its end may ever come. That holds, too, for an abort
 * while the end of the source is waited for. How such a source ends is told to nobody.
 */
export async function* mapOrdered<Item, Result>(
  source: AsyncIterable<Item>,
  work: (item: Item) => Promise<Result>,
  options: OrderedOptions,
): AsyncGenerator<Result> {
  const { signal, what } = options;
  const concurrency = Math.max(1, Math.floor(options.concurrency));
  throwIfAborted(signal, what);
  const iterator = abortable(source, signal, what);
  const slots: Slot<Result>[] = [];
  let running = 0;
  let reading = false;
  let exhausted = false;
  let sourceError: { readonly error: unknown } | undefined;
  let stopped = false;
  let wake: (() => void) | undefined;

  const notify = (): void => {
    wake?.();
    wake = undefined;
  };
  const run = async (item: Item, slot: Slot<Result>): Promise<void> => {
    try {
      slot.outcome = { value: await work(item) };
    } catch (error) {
      slot.outcome = { error };
    }
    running--;
    notify();
    pull();
  };
  const start = (item: Item): void => {
    running++;
    const slot = {} as { -readonly [Key in keyof Slot<Result>]: Slot<Result>[Key] };
    slot.settled = run(item, slot);
    slots.push(slot);
  };
  const read = async (): Promise<void> => {
    try {
      const step = await iterator.next();
      if (step.done === true) exhausted = true;
      else if (!stopped) start(step.value);
    } catch (error) {
      exhausted = true;
      sourceError = { error };
    }
    reading = false;
    notify();
    pull();
  };
  const pull = (): void => {
    if (reading || exhausted || stopped || running >= concurrency || slots.length >= 2 * concurrency) return;
    reading = true;
    void read();
  };

  signal?.addEventListener('abort', notify);
  let failed = true;
  try {
    for (;;) {
      throwIfAborted(signal, what);
      pull();
      const slot = slots[0];
      if (slot?.outcome !== undefined) {
        slots.shift();
        if ('error' in slot.outcome) throw slot.outcome.error;
        pull();
        failed = false;
        yield slot.outcome.value;
        failed = true;
      } else if (slot === undefined && exhausted) {
        if (sourceError !== undefined) throw sourceError.error;
        failed = false;
        return;
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
  } finally {
    stopped = true;
    signal?.removeEventListener('abort', notify);
    const ended = exhausted ? undefined : iterator.return?.();
    // What failed first is what the reader is told, not that the source did not end well on top of it.
    await ended?.catch((error: unknown) => {
      if (!failed) throw error;
    });
    await Promise.all(slots.map((slot) => slot.settled));
  }
}
