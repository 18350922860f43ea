import type { Storage } from '../../src/contracts/storage.ts';

export class Died extends Error {}

/** A storage whose user dies at one of its calls: from then on none reaches the storage. */
export interface DyingStorage {
  readonly storage: Storage;
  readonly calls: () => number;
  readonly hasDied: () => boolean;
}

/**
 * Dies at call number `at`, from 1: before it has any effect, or with `after` when it has. A `remove` of several keys dies half way with
 * `half`: as many of its keys as this number are removed.
 */
export function dyingStorage(
  inner: Storage,
  at: number,
  when: 'before' | 'after' | { readonly half: number } = 'before',
): DyingStorage {
  let calls = 0;
  let died = false;
  const die = (): never => {
    died = true;
    throw new Died(`killed at call ${calls}`);
  };
  const begin = (): boolean => {
    if (died) die();
    calls += 1;
    if (calls === at && when === 'before') die();
    return calls === at;
  };
  const storage: Storage = {
    capabilities: inner.capabilities,
    put: async (...call) => {
      const last = begin();
      await inner.put(...call);
      if (last) die();
    },
    async *get(...call) {
      if (begin()) die();
      yield* inner.get(...call);
    },
    stat: async (...call) => {
      if (begin()) die();
      return inner.stat(...call);
    },
    async *list(...call) {
      if (begin()) die();
      yield* inner.list(...call);
    },
    remove: async (keys, options) => {
      const last = begin();
      const half = last && typeof when === 'object' ? keys.slice(0, when.half) : keys;
      const result = await inner.remove(half, options);
      if (last) die();
      return result;
    },
    close: () => inner.close(),
  };
  return { storage, calls: () => calls, hasDied: () => died };
}
