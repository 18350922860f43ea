import { expect, test } from 'vitest';
import { ArchiveError } from '../../src/contracts/errors.ts';
import type { Storage } from '../../src/contracts/storage.ts';
import { listRepository } from '../../src/map/repository-state.ts';
import { memoryRepository, memoryStorage } from '../repository/repository.ts';
import { SYSTEM_ID, walSegment } from '../wal-command/segments.ts';

test('H-50 without a backup the size of segments is read from one: a storage that fails is no archive of the usual size', async () => {
  const storage = await memoryStorage();
  const repository = await memoryRepository({ storage, compressed: false });
  await repository.open({ create: true });
  const { name, bytes } = walSegment(5n);
  await repository.wal(SYSTEM_ID).push(name, { bytes });
  let refused = 0;
  const failing: Storage = {
    capabilities: storage.capabilities,
    put: (...call) => storage.put(...call),
    stat: (...call) => storage.stat(...call),
    list: (...call) => storage.list(...call),
    remove: (...call) => storage.remove(...call),
    close: () => storage.close(),
    get: async function* (key, options) {
      if (key.includes('/wal/')) {
        refused += 1;
        throw new ArchiveError('STORAGE_UNAVAILABLE', 'the storage is away');
      }
      yield* storage.get(key, options);
    },
  };
  const away = await memoryRepository({ storage: failing, compressed: false });
  await expect(listRepository(away, { now: 0 })).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(refused).toBe(1);
  expect((await listRepository(repository, { now: 0 })).systems[0]?.wal.segmentSize).toBe(bytes.byteLength);
});
