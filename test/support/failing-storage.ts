import { ArchiveError, type ErrorCode, type Storage } from '@pgark/sdk';

/** A storage of which every call but `close` fails with `code`. */
export function failingStorage(code: ErrorCode): Storage {
  const fail = async (): Promise<never> => {
    throw new ArchiveError(code, `the storage fails with ${code}`);
  };
  // eslint-disable-next-line require-yield
  const failLater = async function* (): AsyncGenerator<never> {
    await fail();
  };
  return {
    capabilities: { conditionalPut: true, retention: true, metadata: true },
    put: fail,
    get: failLater,
    stat: fail,
    list: failLater,
    remove: fail,
    close: async () => undefined,
  };
}
