/** Whom the archive would tell: each hook of the config is tried by itself. */
import { MemoryStorage } from '@pgark/storage-memory';
import { expect, onTestFinished, test } from 'vitest';
import { openArchive } from '../../src/archive/open.ts';
import type { Archive } from '../../src/archive/archive.ts';
import type { PluginValue } from '../../src/config/load.ts';
import type { ArchiveEvent, Hook } from '../../src/contracts/hook.ts';
import { API_VERSION, type Plugin } from '../../src/contracts/plugin.ts';

const anything = { '~standard': { version: 1 as const, vendor: 'test', validate: (value: unknown) => ({ value }) } };

function hookPlugin(name: string, handle: Hook['handle'], closed: string[]): Plugin<'hook'> {
  const close = async (): Promise<void> => void closed.push(name);
  return { name, kind: 'hook', apiVersion: API_VERSION, options: anything, create: async () => ({ handle, close }) };
}

const storage: Plugin<'storage'> = {
  name: 'kept',
  kind: 'storage',
  apiVersion: API_VERSION,
  options: anything,
  create: async () => new MemoryStorage(),
};

async function withHooks(
  hooks: readonly PluginValue[],
): Promise<{ readonly archive: Archive; readonly told: ArchiveEvent[]; readonly closed: string[] }> {
  const told: ArchiveEvent[] = [];
  const closed: string[] = [];
  const archive = await openArchive({
    config: { cluster: 'orders', repositories: [{ name: 'near', storage: { use: 'kept' } }], hooks },
    plugins: [
      storage,
      hookPlugin('told', async (event) => void told.push(event), closed),
      hookPlugin('broken', () => Promise.reject(new Error('the door is shut')), closed),
      hookPlugin('silent', () => new Promise(() => undefined), closed),
    ],
  });
  onTestFinished(() => archive.close());
  return { archive, told, closed };
}

test('each hook is told of a test, whatever it chooses, and those that were not are named', async () => {
  const { archive, told, closed } = await withHooks([
    { use: 'told', severity: 'critical', events: ['wal.gap'] },
    { use: 'broken' },
    { use: 'silent', timeout: '100ms' },
    { use: 'nowhere' },
  ]);
  const { hooks, failure } = await archive.tryHooks();
  expect(hooks.map(({ name, error }) => [name, error?.code])).toEqual([
    ['told', undefined],
    ['broken', 'INTERNAL'],
    ['silent', 'HOOK_FAILED'],
    ['nowhere', 'PLUGIN_NOT_FOUND'],
  ]);
  expect(failure).toMatchObject({
    code: 'HOOK_FAILED',
    message: '3 of 4 hooks were not told (broken, silent, nowhere)',
  });
  expect(told).toHaveLength(1);
  expect(told[0]).toMatchObject({ name: 'backup.finished', cluster: 'orders' });
  expect(told[0]?.summary).toMatch(/^this is a test: backup /);
  expect(closed).toEqual(['told', 'broken', 'silent']);
});

test('an event that opens a condition is closed again, and the condition is none of the archive', async () => {
  const { archive, told } = await withHooks([{ use: 'told' }, { use: 'broken' }]);
  expect((await archive.tryHooks({ hooks: ['told'], event: 'backup.failed' })).failure).toBeUndefined();
  expect(told.map(({ name, condition }) => [name, condition])).toEqual([
    ['backup.failed', { key: 'test', state: 'open' }],
    ['backup.failed', { key: 'test', state: 'closed' }],
  ]);
  expect(new Set(told.map(({ id }) => id)).size).toBe(2);
});

test('an unknown name, and a config without hooks, are refused', async () => {
  const { archive } = await withHooks([{ use: 'told' }]);
  await expect(archive.tryHooks({ hooks: ['tolt'] })).rejects.toMatchObject({ code: 'USAGE', hint: 'It has: told.' });
  await expect((await withHooks([])).archive.tryHooks()).rejects.toMatchObject({ code: 'USAGE' });
});
