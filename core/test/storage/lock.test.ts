import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test } from 'vitest';
import { bodyOf, putBytes } from '../../src/repository/objects.ts';
import { NO_LOCK } from '../../src/storage/lock.ts';
import { storageStack } from '../../src/storage/stack.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';

describe('the lock of a repository', () => {
  const start = Date.now();
  const put = { ifAbsent: true };

  test('every object is locked for as long as it says, but those that say otherwise', async () => {
    let now = start;
    const memory = new MemoryStorage({ now: () => now });
    const storage = storageStack(memory, { logger: silentLogger, prefix: 'p', lock: 3_600_000 });
    await storage.put('locked', bodyOf(Buffer.from('x')), put);
    await storage.put('longer', bodyOf(Buffer.from('x')), { ...put, retainUntil: new Date(start + 7_200_000) });
    await putBytes(storage, 'free', Buffer.from('x'), NO_LOCK);
    const keys = ['locked', 'longer', 'free'];
    expect(await storage.remove(keys)).toEqual({ retained: ['locked', 'longer'] });
    now = start + 3_660_000;
    expect(await storage.remove(keys)).toEqual({ retained: ['longer'] });
    await storage.close();
  });

  test('without one nothing is locked', async () => {
    const storage = storageStack(new MemoryStorage(), { logger: silentLogger });
    await storage.put('free', bodyOf(Buffer.from('x')), put);
    expect(await storage.remove(['free'])).toEqual({ retained: [] });
    await storage.close();
  });

  test('what is read only locks nothing', async () => {
    const memory = new MemoryStorage();
    await memory.put('object', bodyOf(Buffer.from('x')), put);
    const storage = storageStack(memory, { logger: silentLogger, readOnly: true });
    await expect(storage.retain?.('object', new Date(start + 60_000))).rejects.toMatchObject({
      code: 'STORAGE_DENIED',
    });
    expect(await memory.remove(['object'])).toEqual({ retained: [] });
    await storage.close();
  });
});
