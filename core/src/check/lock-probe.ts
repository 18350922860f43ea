import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions, LockAnswer, LockProof, Storage } from '../contracts/storage.ts';
import type { Finding } from './finding.ts';

export interface LockProbeOptions extends CallOptions {
  /** The back end below the storage, which may know how to try a lock for real, and what its keys begin with there. */
  readonly backEnd?: { readonly storage: Storage; readonly prefix: string };
  /** Milliseconds for which the repository locks what it stores; undefined: it does not. */
  readonly lock?: number;
}

/** Tries to replace and to delete a locked object whose bytes are `content`, and says what came of it. */
export async function tryLock(
  storage: Storage,
  key: string,
  content: Uint8Array,
  { backEnd, lock, signal }: LockProbeOptions,
): Promise<Omit<Finding, 'subject' | 'check'>> {
  const call = signal === undefined ? {} : { signal };
  const proof =
    backEnd?.storage.proveLock === undefined
      ? await proveThrough(storage, key, content, call)
      : await backEnd.storage.proveLock(`${backEnd.prefix}${key}`, call);
  const { replace, remove } = proof;
  if (replace === 'lost' || remove === 'lost')
    return {
      state: 'failed',
      message: `the lock does not hold: the locked object could be ${replace === 'lost' ? 'replaced' : 'deleted'}`,
      hint: 'Check that object lock is on for the bucket or container, and which permissions these credentials have.',
    };
  const message = `a locked object survives: replacing it ${REPLACED[replace]}, deleting it ${REMOVED[remove]}`;
  if (lock === undefined)
    return {
      state: 'ok',
      message,
      hint: 'Nothing else is locked: "lock" of the repository says for how long objects are.',
    };
  if (replace === 'refused' && remove === 'refused') return { state: 'ok', message };
  return {
    state: 'ok',
    message,
    hint: 'These credentials can hide the archive, not destroy it: "--as-of" reads what is hidden. Better give a writer no such permission.',
  };
}

const REPLACED: Readonly<Record<'refused' | 'kept', string>> = {
  refused: 'is refused',
  kept: 'adds a version, behind which it can be read',
};
const REMOVED: Readonly<Record<'refused' | 'kept', string>> = {
  refused: 'is refused',
  kept: 'adds a delete marker, behind which it can be read',
};

/** Through the storage itself, for those that ask nothing by themselves before they replace or delete. */
async function proveThrough(storage: Storage, key: string, content: Uint8Array, call: CallOptions): Promise<LockProof> {
  const survived = async (): Promise<LockAnswer> => {
    try {
      const chunks: Uint8Array[] = [];
      for await (const chunk of storage.get(key, call)) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks).equals(content) ? 'refused' : 'lost';
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND')) return 'lost';
      throw error;
    }
  };
  const other = {
    [Symbol.asyncIterator]: async function* () {
      yield Buffer.from('not what was locked');
    },
  };
  try {
    await storage.put(key, other, { ifAbsent: false, ...call });
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_DENIED') && !isArchiveError(error, 'STORAGE_EXISTS')) throw error;
  }
  const replace = await survived();
  if (replace === 'lost') return { replace, remove: 'lost' };
  try {
    await storage.remove([key], call);
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_DENIED')) throw error;
  }
  return { replace, remove: await survived() };
}
