/** The storage suite once more through everything that wraps a storage: a wrapper must forward all of the contract. */
import { readdirSync } from 'node:fs';
import { ArchiveError, type PutOptions, type Storage } from '@pgark/sdk';
import { describeStorage, Random } from '@pgark/sdk/testing';
import { MemoryStorage } from '@pgark/storage-memory';
import { expect, test } from 'vitest';
import { withLimit } from '../../core/src/storage/limit.ts';
import { withLock } from '../../core/src/storage/lock.ts';
import { withObserver } from '../../core/src/storage/observe.ts';
import { withRetain } from '../../core/src/storage/optional.ts';
import { withPrefix } from '../../core/src/storage/prefix.ts';
import { readOnly } from '../../core/src/storage/read-only.ts';
import { withRetry } from '../../core/src/storage/retry.ts';
import { storageStack } from '../../core/src/storage/stack.ts';
import { withThrottle } from '../../core/src/storage/throttle.ts';
import { withWatchdog } from '../../core/src/storage/watchdog.ts';
import { failingStorage } from '../support/failing-storage.ts';
import { flakyStorage, type Faults } from '../support/flaky-storage.ts';
import { gaps, PREFIX_GAPS } from '../support/known-gaps.ts';
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
  ...withRetain(storage, (retain) => retain),
});

/** Written to behind its back, so that all that reads runs through it. */
const readThroughReadOnly = (storage: Storage): Storage => ({
  ...readOnly(storage),
  put: (key, body, options) => storage.put(key, body, options),
  remove: (keys, options) => storage.remove(keys, options),
  ...withRetain(storage, (retain) => retain),
});

/** The storage of one that has room for 8 MiB and no more. */
class SmallMemoryStorage extends MemoryStorage {
  override async put(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions): Promise<void> {
    await super.put(key, upTo(8 * 1024 * 1024, body), options);
  }
}

async function* upTo(room: number, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let taken = 0;
  for await (const chunk of body) {
    taken += chunk.byteLength;
    if (taken > room) throw new ArchiveError('STORAGE_FULL', 'there is no room for more');
    yield chunk;
  }
}

type Decorate = (storage: Storage) => Storage;

/** By the name of the file in core/src/storage, where it is one of them. */
const DECORATORS: Readonly<Record<string, Decorate>> = {
  'a wrapper that does nothing': wrap,
  retry: (storage) => withRetry(storage, impatient),
  observe: (storage) => withObserver(storage, () => undefined),
  watchdog: (storage) => withWatchdog(storage, { stall: 60_000 }),
  limit: (storage) => withLimit(storage, 3),
  throttle: (storage) => withThrottle(storage, { upload: 1e9, download: 1e9 }),
  prefix: (storage) => withPrefix(storage, 'some/prefix'),
  lock: (storage) => withLock(storage, { lock: -1 }),
  'read-only': readThroughReadOnly,
  stack: (storage) =>
    storageStack(storage, { logger: silentLogger, prefix: 'p', retry: impatient, maxCalls: 8, maxUploadRate: 1e9 }),
};

for (const [name, decorate] of Object.entries(DECORATORS)) {
  describeStorage(`memory through ${name}`, {
    create: async () => decorate(new MemoryStorage()),
    knownGaps: [
      ...(['prefix', 'stack'].includes(name) ? PREFIX_GAPS : []),
      ...gaps('every storage is a place of its own, in this process', 'STOR-07/reopen'),
      ...gaps('there is no network; tests of the watchdog drive it', 'STOR-06/silent', 'STOR-06/slow'),
    ],
    broken: {
      missing: async () => decorate(failingStorage('STORAGE_MISCONFIGURED')),
      denied: async () => decorate(failingStorage('STORAGE_DENIED')),
      credentials: async () => decorate(failingStorage('STORAGE_DENIED')),
      unavailable: async () => decorate(failingStorage('STORAGE_UNAVAILABLE')),
      full: async () => decorate(new SmallMemoryStorage()),
    },
  });
}

test('no decorator is left out', () => {
  const files = readdirSync(new URL('../../core/src/storage', import.meta.url), { recursive: true });
  // They compare two streams, queue calls, and wrap a method.
  const others = ['same-bytes.ts', 'line.ts', 'optional.ts'];
  const expected = files.map(String).filter((file) => file.endsWith('.ts') && !others.includes(file));
  const covered = Object.keys(DECORATORS).map((name) => `${name}.ts`);
  expect(expected.filter((file) => !covered.includes(file))).toEqual([]);
  expect(covered.filter((file) => expected.includes(file)).length).toBe(expected.length);
});

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
