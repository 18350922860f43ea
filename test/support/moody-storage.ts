import { ArchiveError, type Plugin, type Storage } from '@pgark/sdk';
import { FsStorage } from '@pgark/storage-fs';
import { API_VERSION } from '../../core/src/contracts/plugin.ts';

type Call = 'put' | 'get' | 'stat' | 'list' | 'remove';

/** What becomes of a call: it works, it is refused, it fails in a way that may pass, or it hangs until it is cancelled. */
export type Mood = 'works' | 'denied' | 'unavailable' | 'hangs';

/** Folders as storages, `{ use: moody, path }`, whose calls do what `mood` says at the moment; `calls` counts those that did not work. */
export class MoodyStorages {
  mood: (call: Call, key: string, path: string) => Mood = () => 'works';
  calls = 0;

  readonly plugin: Plugin<'storage'> = {
    name: 'moody',
    kind: 'storage',
    apiVersion: API_VERSION,
    options: { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } },
    create: (options, context) => {
      const { path } = options as { readonly path: string };
      return this.#over(new FsStorage({ path }, context), path);
    },
  };

  #over(storage: Storage, path: string): Storage {
    const enter = async (call: Call, key: string, signal: AbortSignal | undefined): Promise<void> => {
      const mood = this.mood(call, key, path);
      if (mood === 'works') return;
      this.calls += 1;
      if (mood === 'hangs')
        await new Promise<never>((_, reject) => {
          const end = (): void => reject(new ArchiveError('ABORTED', `${call} ${key} was cancelled`));
          if (signal?.aborted === true) end();
          signal?.addEventListener('abort', end, { once: true });
        });
      throw mood === 'denied'
        ? new ArchiveError('STORAGE_DENIED', `${call} ${key} is denied`)
        : new ArchiveError('STORAGE_UNAVAILABLE', `${call} ${key} failed`, { retriable: true });
    };
    return {
      capabilities: storage.capabilities,
      put: async (key, body, options) => {
        await enter('put', key, options.signal);
        await storage.put(key, body, options);
      },
      get: async function* (key, options) {
        await enter('get', key, options?.signal);
        yield* storage.get(key, options);
      },
      stat: async (key, options) => {
        await enter('stat', key, options?.signal);
        return storage.stat(key, options);
      },
      list: async function* (prefix, options) {
        await enter('list', prefix, options?.signal);
        yield* storage.list(prefix, options);
      },
      remove: async (keys, options) => {
        await enter('remove', keys[0] ?? '', options?.signal);
        return storage.remove(keys, options);
      },
      close: () => storage.close(),
    };
  }
}
