import { ArchiveError, type Storage } from '../contracts/index.ts';
import { withRetain } from './optional.ts';

/** The same storage, but `put`, `remove` and `retain` are `STORAGE_DENIED` and never reach it. */
export function readOnly(storage: Storage): Storage {
  const refuse = async (what: string): Promise<never> => {
    throw new ArchiveError('STORAGE_DENIED', `${what} is refused: the storage was opened for reading only`, {
      hint: 'Use a command that writes, or a repository that is not read-only.',
    });
  };
  return {
    capabilities: storage.capabilities,
    put: (key) => refuse(`storing ${key}`),
    get: (key, options) => storage.get(key, options),
    stat: (key, options) => storage.stat(key, options),
    list: (prefix, options) => storage.list(prefix, options),
    remove: (keys) => refuse(`removing ${keys.length} objects`),
    close: () => storage.close(),
    ...withRetain(storage, () => (key) => refuse(`locking ${key}`)),
  };
}
