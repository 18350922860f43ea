import { ArchiveError, type Storage } from '@pgark/sdk';

/** How many faults there were. */
export interface Cuts {
  count: number;
}

/**
 * A storage whose connections end early: each `get` gives `bytes` bytes and then breaks (`break`), or stops as if that were all
 * (`end`). Only keys that contain `part`.
 */
export function cutStorage(
  storage: Storage,
  options: { readonly part: string; readonly bytes: number; readonly how: 'break' | 'end'; readonly cuts: Cuts },
): Storage {
  const { part, bytes, how, cuts } = options;
  return {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    get: async function* (key, get) {
      if (!key.includes(part)) return yield* storage.get(key, get);
      let left = bytes;
      for await (const chunk of storage.get(key, get)) {
        if (chunk.byteLength <= left) {
          left -= chunk.byteLength;
          yield chunk;
          continue;
        }
        if (left > 0) yield chunk.subarray(0, left);
        cuts.count++;
        if (how === 'break') throw new ArchiveError('STORAGE_UNAVAILABLE', `the connection for ${key} was cut`);
        return;
      }
    },
  };
}
