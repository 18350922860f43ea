import { ArchiveError, type Logger, type Storage } from '@pgark/sdk';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test } from 'vitest';
import { logCalls, withObserver } from '../../src/storage/observe.ts';
import { withPrefix } from '../../src/storage/prefix.ts';
import { readOnly } from '../../src/storage/read-only.ts';
import { storageStack } from '../../src/storage/stack.ts';
import { failingStorage } from '../../../test/support/failing-storage.ts';

interface Line {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

function recordingLogger(): Logger & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const write =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      lines.push({ level, fields, message });
    };
  return { lines, debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

async function* body(text: string): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from(text);
}

async function keysOf(storage: Storage, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list(prefix)) keys.push(key);
  return keys;
}

describe('withPrefix', () => {
  test('H-57 keeps to its own part: not that of a longer prefix, not what is above', async () => {
    const memory = new MemoryStorage();
    for (const key of ['db1/a', 'db10/a', 'db1', 'db1x/a']) await memory.put(key, body(key), { ifAbsent: true });
    const storage = withPrefix(memory, 'db1');
    expect(await keysOf(storage)).toEqual(['a']);
    await storage.remove(['a', 'x/a']);
    expect(await keysOf(memory)).toEqual(['db1', 'db10/a', 'db1x/a']);
    await expect(storage.stat('../db10/a')).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' });
  });

  test('gives retained keys back without the prefix', async () => {
    const storage = withPrefix(new MemoryStorage(), 'p');
    await storage.put('locked', body('x'), { ifAbsent: true, retainUntil: new Date(Date.now() + 60_000) });
    expect(await storage.remove(['locked'])).toEqual({ retained: ['locked'] });
  });
});

describe('readOnly', () => {
  test('reads, and refuses to write before anything reaches the storage', async () => {
    const memory = new MemoryStorage();
    await memory.put('key', body('x'), { ifAbsent: true });
    const storage = readOnly(memory);
    expect((await storage.stat('key')).size).toBe(1);
    expect(await keysOf(storage)).toEqual(['key']);
    await expect(storage.put('other', body('x'), { ifAbsent: true })).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await expect(storage.remove(['key'])).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    expect(await keysOf(memory)).toEqual(['key']);
  });
});

describe('withObserver', () => {
  test('tells each call with what it moved, and each failure with its code', async () => {
    const logger = recordingLogger();
    const storage = withObserver(new MemoryStorage(), logCalls(logger), () => 0);
    await storage.put('key', body('hello'), { ifAbsent: true });
    for await (const chunk of storage.get('key')) expect(chunk.byteLength).toBe(5);
    for await (const chunk of storage.get('key')) if (chunk.byteLength > 0) break;
    await keysOf(storage, 'k');
    await expect(storage.stat('nothing')).rejects.toThrow();
    await expect(keysOf(withObserver(failingStorage('STORAGE_DENIED'), logCalls(logger)))).rejects.toThrow();
    await storage.remove(['key', 'other']);
    expect(logger.lines.map(({ level, fields }) => [level, { ...fields, ms: undefined }])).toEqual([
      ['debug', { call: 'put', key: 'key', bytes: 5 }],
      ['debug', { call: 'get', key: 'key', bytes: 5 }],
      ['debug', { call: 'get', key: 'key', bytes: 5 }],
      ['debug', { call: 'list', prefix: 'k', entries: 1 }],
      ['debug', { call: 'stat', key: 'nothing', failed: 'STORAGE_NOT_FOUND' }],
      ['debug', { call: 'list', prefix: '', entries: 0, failed: 'STORAGE_DENIED' }],
      ['debug', { call: 'remove', keys: 2 }],
    ]);
  });
});

describe('storageStack', () => {
  test('retries what fails at the back end, tells each attempt, and leaves alone what fails above', async () => {
    const logger = recordingLogger();
    const inner: string[] = [];
    const memory = new MemoryStorage();
    await memory.put('p/key', body('x'), { ifAbsent: true });
    const storage = storageStack(memory, {
      logger,
      prefix: 'p',
      retry: { sleep: async () => undefined },
      wrap: {
        inner: (below) => ({
          ...failingStorage('INTERNAL'),
          stat: async (key) => {
            inner.push(key);
            if (inner.length < 3) throw new ArchiveError('STORAGE_UNAVAILABLE', 'a fault below the retries');
            return below.stat(key);
          },
        }),
        outer: (below) => ({
          ...below,
          remove: async () => {
            throw new ArchiveError('STORAGE_UNAVAILABLE', 'a fault above the retries');
          },
        }),
      },
    });
    expect((await storage.stat('key')).key).toBe('key');
    expect(inner).toEqual(['p/key', 'p/key', 'p/key']);
    expect(
      logger.lines.map(({ level, fields }) => [level, fields['call'] ?? fields['what'], fields['failed']]),
    ).toEqual([
      ['debug', 'stat', 'STORAGE_UNAVAILABLE'],
      ['warn', 'stat p/key', undefined],
      ['debug', 'stat', 'STORAGE_UNAVAILABLE'],
      ['warn', 'stat p/key', undefined],
      ['debug', 'stat', undefined],
    ]);
    const before = logger.lines.length;
    await expect(storage.remove(['key'])).rejects.toThrow('above the retries');
    expect(logger.lines).toHaveLength(before);
  });

  test('read-only, nothing that writes reaches the back end', async () => {
    const logger = recordingLogger();
    const storage = storageStack(failingStorage('INTERNAL'), { logger, readOnly: true });
    await expect(storage.put('key', body('x'), { ifAbsent: true })).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    expect(logger.lines).toEqual([]);
  });
});
