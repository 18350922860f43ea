import { ArchiveError, type Storage } from '@pgark/sdk';
import { withRetain } from '../../core/src/storage/optional.ts';

/** Counts the faults by call. */
export type Faults = Record<'put' | 'get' | 'stat' | 'list' | 'remove', number>;

/**
 * A storage whose calls fail now and then in a way that may pass: before they begin, and `get` and `list` also between
 * two items. `unlucky` decides, for instance by a seeded chance.
 */
export function flakyStorage(storage: Storage, unlucky: () => boolean, faults: Faults): Storage {
  const maybeFail = (call: keyof Faults): void => {
    if (!unlucky()) return;
    faults[call] += 1;
    throw new ArchiveError('STORAGE_UNAVAILABLE', `${call} failed by chance`);
  };
  async function* flaky<Item>(call: keyof Faults, items: AsyncIterable<Item>): AsyncGenerator<Item, void, undefined> {
    maybeFail(call);
    for await (const item of items) {
      yield item;
      maybeFail(call);
    }
  }
  return {
    capabilities: storage.capabilities,
    put: async (key, body, options) => {
      maybeFail('put');
      await storage.put(key, body, options);
    },
    get: (key, options) => flaky('get', storage.get(key, options)),
    stat: async (key, options) => {
      maybeFail('stat');
      return storage.stat(key, options);
    },
    list: (prefix, options) => flaky('list', storage.list(prefix, options)),
    remove: async (keys, options) => {
      maybeFail('remove');
      return storage.remove(keys, options);
    },
    close: () => storage.close(),
    ...withRetain(storage, (retain) => async (key, until, options) => {
      if (unlucky()) throw new ArchiveError('STORAGE_UNAVAILABLE', 'retain failed by chance');
      return retain(key, until, options);
    }),
  };
}
