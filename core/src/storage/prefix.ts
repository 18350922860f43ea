import type { ObjectInfo, Storage } from '../contracts/index.ts';
import { withRetain } from './optional.ts';

/**
 * The part of a storage below `prefix`, as a storage of its own. Keys with the prefix are still at most 900 bytes.
 *
 * `prefix` has the form of a key; the slash behind it is added.
 */
export function withPrefix(storage: Storage, prefix: string): Storage {
  const whole = (key: string): string => `${prefix}/${key}`;
  const cut = (key: string): string => key.slice(prefix.length + 1);
  const cutInfo = (info: ObjectInfo): ObjectInfo => ({ ...info, key: cut(info.key) });
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => storage.put(whole(key), body, options),
    get: (key, options) => storage.get(whole(key), options),
    stat: async (key, options) => cutInfo(await storage.stat(whole(key), options)),
    async *list(start, options = {}) {
      const { startAfter } = options;
      const inner = startAfter === undefined ? options : { ...options, startAfter: whole(startAfter) };
      for await (const info of storage.list(whole(start), inner)) yield cutInfo(info);
    },
    remove: async (keys, options) => {
      const { retained } = await storage.remove(keys.map(whole), options);
      return { retained: retained.map(cut) };
    },
    close: () => storage.close(),
    ...withRetain(storage, (retain) => (key, until, options) => retain(whole(key), until, options)),
  };
}
