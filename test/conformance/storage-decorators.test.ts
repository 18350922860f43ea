/** The storage suite once more through everything that wraps a storage: a wrapper must forward all of the contract. */
import type { Storage } from '@pgark/sdk';
import { describeStorage, Random } from '@pgark/sdk/testing';
import { MemoryStorage } from '@pgark/storage-memory';
import { expect, test } from 'vitest';
import { withLimit } from '../../core/src/storage/limit.ts';
import { withObserver } from '../../core/src/storage/observe.ts';
import { withPrefix } from '../../core/src/storage/prefix.ts';
import { withRetry } from '../../core/src/storage/retry.ts';
import { storageStack } from '../../core/src/storage/stack.ts';
import { withThrottle } from '../../core/src/storage/throttle.ts';
import { withWatchdog } from '../../core/src/storage/watchdog.ts';
import { failingStorage } from '../support/failing-storage.ts';
import { flakyStorage, type Faults } from '../support/flaky-storage.ts';
import { silentLogger } from '../support/silent-logger.ts';

const impatient = { deadline: 0 };

/** Every method anew and nothing else: what this loses, any wrapper loses. */
const wrap = (storage: Storage): Storage => ({
  capabilities: storage.capabilities,
  put: (key, body, options) => storage.put(key, body, options),
  get: (key, options) => storage.get(key, options),
  stat: (key, options) => storage.stat(key, options),
  list: (prefix, options) => storage.list(prefix, options),
  remove: (keys, options) => storage.remove(keys, options),
  close: () => storage.close(),
});

const longKeys = { id: 'STOR-01/longest', reason: 'the prefix takes its part of the 900 bytes' };

for (const [name, decorate, knownGaps] of [
  ['a wrapper that does nothing', wrap, []],
  ['withRetry', (storage: Storage) => withRetry(storage, impatient), []],
  ['withObserver', (storage: Storage) => withObserver(storage, () => undefined), []],
  ['withWatchdog', (storage: Storage) => withWatchdog(storage, { stall: 60_000 }), []],
  ['withLimit', (storage: Storage) => withLimit(storage, 3), []],
  ['withThrottle', (storage: Storage) => withThrottle(storage, { upload: 1e9, download: 1e9 }), []],
  ['withPrefix', (storage: Storage) => withPrefix(storage, 'some/prefix'), [longKeys]],
  [
    'storageStack',
    (storage: Storage) =>
      storageStack(storage, { logger: silentLogger, prefix: 'p', retry: impatient, maxCalls: 8, maxUploadRate: 1e9 }),
    [longKeys],
  ],
] as const) {
  describeStorage(`memory through ${name}`, {
    create: async () => decorate(new MemoryStorage()),
    knownGaps,
    broken: {
      missing: async () => decorate(failingStorage('STORAGE_MISCONFIGURED')),
      denied: async () => decorate(failingStorage('STORAGE_DENIED')),
      unavailable: async () => decorate(failingStorage('STORAGE_UNAVAILABLE')),
    },
  });
}

const faults: Faults = { put: 0, get: 0, stat: 0, list: 0, remove: 0 };
let seed = 1;

describeStorage('memory that fails every fourth time, through withRetry', {
  create: async () => {
    const chance = new Random(seed++);
    const flaky = flakyStorage(new MemoryStorage(), () => chance.integer(4) === 0, faults);
    return withRetry(flaky, { sleep: async () => undefined });
  },
});

test('H-84 every call failed many times below withRetry', () => {
  for (const [call, count] of Object.entries(faults)) expect(count, `faults of ${call}`).toBeGreaterThan(20);
});
