/** An outage of a storage in the middle of a put whose body comes only once. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Storage } from '@pgark/sdk';
import type { RetryEvent, RetryOptions } from '../../core/src/storage/retry.ts';
import { storageStack } from '../../core/src/storage/stack.ts';
import type { Proxy } from './proxy.ts';
import { silentLogger } from './silent-logger.ts';

/** `cut`: connections break, new ones are accepted. `refuse`: those too. `silence`: all stand, nothing passes. */
export type Fault = 'cut' | 'refuse' | 'silence';

export const FAULTS: readonly Fault[] = ['cut', 'refuse', 'silence'];

/** Milliseconds without progress after which a storage should give a request up that meets `silence`, which lasts three times as long. */
export const SILENCE = 1000;

/** What came of it. */
export interface Outage {
  readonly content: Buffer;
  /** Connections that were open when it began. */
  readonly connections: number;
  readonly retries: readonly RetryEvent[];
  /** The most bytes that were taken from the body while it lasted. */
  readonly taken: number;
}

/**
 * Puts `bytes` through the whole stack from a generator, and breaks the network in a given way once `after` of them were taken, for a
 * second or three. The put has to succeed.
 */
export async function putThroughOutage(
  backEnd: Storage,
  proxy: Proxy,
  key: string,
  fault: Fault,
  { bytes, after, retry }: { readonly bytes: number; readonly after: number; readonly retry?: RetryOptions },
): Promise<Outage> {
  const retries: RetryEvent[] = [];
  const storage = storageStack(backEnd, {
    logger: silentLogger,
    retry: { firstDelay: 20, longestDelay: 300, onRetry: (event) => retries.push(event), ...retry },
  });
  const content = randomBytes(bytes);
  let total = 0;
  let taken = 0;
  let connections = -1;
  let over: Promise<void> | undefined;
  const begin = async (): Promise<void> => {
    connections = proxy.open;
    if (fault === 'silence') proxy.stall();
    else proxy.cut({ refuse: fault === 'refuse' });
    await sleep(fault === 'silence' ? 3 * SILENCE : 1000);
    taken = total - after;
    // What was said into the silence is lost with its connection.
    if (fault === 'silence') proxy.cut();
    proxy.resume();
  };
  async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
    const chunk = 256 * 1024;
    for (let start = 0; start < bytes; start += chunk) {
      if (start >= after) over ??= begin();
      total = start;
      yield content.subarray(start, start + chunk);
    }
  }
  await storage.put(key, body(), { ifAbsent: true });
  await over;
  return { content, connections, retries, taken };
}
