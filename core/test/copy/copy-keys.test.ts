/** What the record of a copied backup says of keys. */
import { expect, test } from 'vitest';
import type { Codec } from '../../src/contracts/codec.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import type { BackupRecord } from '../../src/repository/backup-record.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { keyed, keyedRepository } from '../keys/keyed.ts';
import { memoryStorage } from '../repository/repository.ts';
import { copy, makeBackup, pushWal, SYSTEM, watchedPuts } from './archives.ts';

const BACKUP = '20261101T000000Z-0001';

const target = (storage: Storage, codec: Codec): Promise<Repository> =>
  keyedRepository({ storage, name: 'far', writes: [codec] });

async function source(): Promise<Repository> {
  const repository = await keyedRepository({ writes: ['zst', keyed({ for: ['near'], held: ['near'] })] });
  await pushWal(repository, 1, [1]);
  await makeBackup(repository, BACKUP, { from: 1, to: 1 });
  return repository;
}

const keysIn = ({ codecs }: BackupRecord): unknown => codecs.map(({ id, keyIds }) => [id, keyIds]);

test('a copy is for the keys of the repository that it goes to', async () => {
  const far = await target(await memoryStorage(), keyed({ for: ['far1', 'far2'], held: ['far1'] }));
  await copy(await source(), far);
  expect(keysIn(await far.backups(SYSTEM).read(BACKUP))).toEqual([['codec-key', ['far1', 'far2']]]);
});

/** A copy that was cut off after two objects of the backup, into the storage that it gives. */
async function interrupted(from: Repository, codec: Codec): Promise<Storage> {
  const storage = await memoryStorage();
  let puts = 0;
  const breaking = watchedPuts(storage, (key) => {
    if (key.includes('/backups/') && ++puts > 2) throw new Error('the network is gone');
  });
  const { result } = await copy(from, await target(breaking, codec), { concurrency: 1 });
  expect(result.stopped).toMatchObject({ message: 'the network is gone' });
  expect(puts).toBeGreaterThan(2);
  return storage;
}

test('a copy that goes on after its keys were changed names the old and the new ones', async () => {
  const from = await source();
  const held = ['old', 'new'];
  const storage = await interrupted(from, keyed({ for: ['old'], held }));
  const far = await target(storage, keyed({ for: ['new'], held }));
  const { result } = await copy(from, far);
  expect(result.backups).toMatchObject([{ id: BACKUP, state: 'copied', copied: 3, kept: 2 }]);
  expect(keysIn(await far.backups(SYSTEM).read(BACKUP))).toEqual([['codec-key', ['new', 'old']]]);
});

test('without the old key what is there cannot be compared: nothing is taken for equal', async () => {
  const from = await source();
  const storage = await interrupted(from, keyed({ for: ['old'] }));
  const far = await target(storage, keyed({ for: ['new'], held: ['new'] }));
  const { result } = await copy(from, far);
  expect(result.failures.map(({ error }) => error)).toMatchObject([{ code: 'CODEC_KEY' }]);
  expect((await far.backups(SYSTEM).list()).map(({ state }) => state)).toEqual(['incomplete']);
});
