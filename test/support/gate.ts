import type { Storage } from '@pgark/sdk';

/** Holds back what parts give to the storage, so that a backup stands still in the middle. */
export class Gate {
  readonly opened: Promise<void>;
  open: () => void = () => undefined;

  constructor() {
    this.opened = new Promise((resolve) => (this.open = resolve));
  }

  readonly wrap = (storage: Storage): Storage => ({
    ...bound(storage),
    put: async (key, body, options) => {
      const { opened } = this;
      async function* held(): AsyncGenerator<Uint8Array> {
        for await (const chunk of body) {
          await opened;
          yield chunk;
        }
      }
      await storage.put(key, key.includes('/base/') ? held() : body, options);
    },
  });
}

/** The calls of a storage as plain functions, to put something around some of them. */
export function bound(storage: Storage): Storage {
  return {
    capabilities: storage.capabilities,
    put: (key, body, options) => storage.put(key, body, options),
    get: (key, options) => storage.get(key, options),
    stat: (key, options) => storage.stat(key, options),
    list: (prefix, options) => storage.list(prefix, options),
    remove: (keys, options) => storage.remove(keys, options),
    close: () => storage.close(),
  };
}
