import type { RetainOptions } from '@pgark/sdk';
import { ArchiveError } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { expect, test } from 'vitest';
import { extendLocksOf } from '../../src/archive/extend-locks.ts';
import { Repository } from '../../src/repository/repository.ts';
import { recordingLogger } from '../plugins/support.ts';
import { SYSTEM } from '../repository/sample-record.ts';

class Refusing extends MemoryStorage {
  override async retain(key: string, _until: Date, _options?: RetainOptions): Promise<Date> {
    throw new ArchiveError('STORAGE_DENIED', `locking ${key} is refused`);
  }
}

async function repositoryOf(name: string, storage: MemoryStorage, lock?: number): Promise<Repository> {
  const repository = new Repository({
    cluster: 'main',
    name,
    storage,
    codecs: [],
    codecFor: async (suffix) => Promise.reject(new Error(`no codec ${suffix}`)),
    ...(lock !== undefined && { lock }),
  });
  await repository.open({ create: true });
  return repository;
}

test('H-73 where locks cannot be extended the others are, and the error says that the backup is complete', async () => {
  const good = new MemoryStorage();
  const repositories = await Promise.all([
    repositoryOf('first', new Refusing(), 60_000),
    repositoryOf('second', good, 60_000),
    repositoryOf('third', new Refusing()),
  ]);
  const options = { systemId: SYSTEM, logger: recordingLogger(), signal: new AbortController().signal };
  const error = await extendLocksOf(repositories, options);
  expect(error).toMatchObject({
    code: 'STORAGE_DENIED',
    hint: expect.stringContaining('backup is complete') as string,
  });
  expect(error?.message).toContain('repository first');
  expect(error?.message).not.toContain('third');
  expect(await good.remove(['main/pgark.json'])).toEqual({ retained: ['main/pgark.json'] });
  expect(await extendLocksOf(repositories.slice(1), options)).toBeUndefined();
  const abort = AbortSignal.abort();
  await expect(extendLocksOf(repositories, { ...options, signal: abort })).rejects.toMatchObject({ code: 'ABORTED' });
});
