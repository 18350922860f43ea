import type { PutOptions, Storage } from '../contracts/index.ts';
import { withRetain } from './optional.ts';

export interface LockOptions {
  /** Milliseconds. */
  readonly lock: number;
  /** The clock, for tests. */
  readonly now?: () => number;
}

/** For a `put` of what is to be removed again soon, in a storage that may lock all else. */
export const NO_LOCK: Pick<Required<PutOptions>, 'retainUntil'> = { retainUntil: new Date(0) };

/** Locks every object for a time from now on, but those whose `put` says how long, or that they are not to be locked. */
export function withLock(storage: Storage, { lock, now = Date.now }: LockOptions): Storage {
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => storage.put(key, body, { retainUntil: new Date(now() + lock), ...options }),
    get: (key, options) => storage.get(key, options),
    stat: (key, options) => storage.stat(key, options),
    list: (prefix, options) => storage.list(prefix, options),
    remove: (keys, options) => storage.remove(keys, options),
    close: () => storage.close(),
    ...withRetain(storage, (retain) => retain),
  };
}
