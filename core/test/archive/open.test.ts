/** The door of programs that embed pgark. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStorage } from '@pgark/storage-memory';
import { expect, onTestFinished, test } from 'vitest';
import type { Archive } from '../../src/archive/archive.ts';
import { openArchive, type OpenArchiveOptions } from '../../src/archive/open.ts';
import { throwIfAborted } from '../../src/contracts/errors.ts';
import type { ArchiveEvent } from '../../src/contracts/hook.ts';
import { API_VERSION, type Plugin } from '../../src/contracts/plugin.ts';
import type { ListOptions, ObjectInfo } from '../../src/contracts/storage.ts';
import { folder } from '../config/support.ts';
import { SpoolLock } from '../../src/receive/spool-lock.ts';
import { recordingLogger } from '../plugins/support.ts';
import { putBackup, putWal, range, repositoryOn } from '../retention/small-archive.ts';
import { walSegment } from '../wal-command/segments.ts';

const anything = { '~standard': { version: 1 as const, vendor: 'test', validate: (value: unknown) => ({ value }) } };

function storagePlugin(name: string, make: () => MemoryStorage): Plugin<'storage'> {
  return { name, kind: 'storage', apiVersion: API_VERSION, options: anything, create: async () => make() };
}

function hookPlugin(told: ArchiveEvent[], veto?: string): Plugin<'hook'> {
  const handle = async (event: ArchiveEvent): Promise<void> => {
    told.push(event);
    if (event.name === veto) throw new Error('not today');
  };
  const create = async (): Promise<{ handle: typeof handle; close: () => Promise<void> }> => ({
    handle,
    close: async () => undefined,
  });
  return { name: 'told', kind: 'hook', apiVersion: API_VERSION, options: anything, create };
}

/** Lists nothing, and hangs until it is told to stop. */
class Hanging extends MemoryStorage {
  lists = 0;
  stopped = 0;

  override async *list(_prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    this.lists += 1;
    yield* [];
    for (; !options.signal?.aborted;) await sleep(5);
    this.stopped += 1;
    throwIfAborted(options.signal, 'listing');
  }
}

/** Closed when the test ends, as a program has to. */
async function opened(options: OpenArchiveOptions): Promise<Archive> {
  const archive = await openArchive(options);
  onTestFinished(() => archive.close());
  return archive;
}

const config = (use: string, more: object = {}): OpenArchiveOptions['config'] => ({
  cluster: 'main',
  repositories: [{ name: 'near', storage: { use } }],
  status: { cacheAge: 'off' },
  // The default is a folder of the machine.
  receive: { spool: join(folder(), 'spool') },
  ...more,
});

/** A storage with three backups. */
async function filled(): Promise<{ readonly storage: MemoryStorage; readonly ids: readonly string[] }> {
  const storage = new MemoryStorage();
  const repository = repositoryOn(storage, 'near');
  await repository.open({ create: true });
  await putWal(repository, 1, range(1, 9));
  const ids: string[] = [];
  for (const day of [3, 2, 1])
    ids.push(
      await putBackup(repository, { time: Date.now() - day * 86_400_000, from: 10 - 3 * day, to: 11 - 3 * day }),
    );
  return { storage, ids };
}

test('a config that is a value is checked by the schema of files, and takes nothing from the environment of the process', async () => {
  const wrong = { cluster: 'main', repositories: [{ storage: { use: 'memory' } }], retention: { keap: 3 } };
  await expect(openArchive({ config: wrong })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('retention.keap: not a known key, did you mean "keep"?') as string,
  });
  await expect(openArchive({ config: '/nowhere/pgark.yaml' })).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
  process.env['PGARK_CLUSTER'] = 'other';
  onTestFinished(() => void delete process.env['PGARK_CLUSTER']);
  const value = config('memory', { receive: { spool: 'spool' } });
  const archive = await opened({ config: value, directory: '/srv' });
  expect(archive.config).toMatchObject({ cluster: 'main', receive: { spool: '/srv/spool', slot: 'pgark' } });
  const { env } = process;
  expect((await opened({ config: value, env })).config.cluster).toBe('other');
  const clusters = { clusters: { one: config('memory', { cluster: undefined }), two: config('memory') } };
  await expect(openArchive({ config: clusters })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('a result that falls short of something has a failure; hooks are told, and what they must not miss is one', async () => {
  const { storage, ids } = await filled();
  const told: ArchiveEvent[] = [];
  const events: string[] = [];
  const plugins = [storagePlugin('own', () => storage), hookPlugin(told)];
  const more = { retention: { keep: 1 }, hooks: [{ use: 'told' }] };
  const archive = await opened({ config: config('own', more), plugins });
  const { backups, failure } = await archive.backups();
  expect(failure).toBeUndefined();
  expect(backups.map(({ id, state, repository }) => ({ id, state, repository }))).toEqual(
    ids.map((id) => ({ id, state: 'complete', repository: 'near' })),
  );
  await archive.pin(ids[0] ?? '', { reason: 'audit' });
  expect((await archive.show(ids[0] ?? '')).pins).toMatchObject([{ reason: 'audit' }]);

  const planned = await archive.planExpire({ remove: ['nothing'] });
  expect(planned).toMatchObject({ failures: [], failure: { code: 'BACKUP_NOT_FOUND' } });
  expect(planned.plans).toHaveLength(1);
  expect(told).toEqual([]);
  const { results } = await archive.expire({ onEvent: (name) => void events.push(name) });
  expect(results).toMatchObject([{ removed: [ids[1]] }]);
  expect(told.map(({ name }) => name)).toEqual(['expire.planned', 'expire.finished']);
  expect(events).toEqual(['expire.planned', 'expire.finished']);
});

test('a hook with the policy fail keeps what it vetoes from being removed', async () => {
  const { storage, ids } = await filled();
  const told: ArchiveEvent[] = [];
  const plugins = [storagePlugin('own', () => storage), hookPlugin(told, 'expire.planned')];
  const hooks = [{ use: 'told', policy: 'fail', retries: 0 }];
  const archive = await opened({ config: config('own', { retention: { keep: 1 }, hooks }), plugins });
  expect(await archive.expire()).toMatchObject({ results: [], failure: { code: 'HOOK_FAILED' } });
  expect((await archive.backups()).backups.map(({ id }) => id)).toEqual(ids);
});

test('a hook whose secret cannot be read keeps nothing from being done but what it guards, and is told when it can', async () => {
  const { storage, ids } = await filled();
  storage.close = async (): Promise<void> => undefined; // the same for several archives
  const told: ArchiveEvent[] = [];
  const plugins = [storagePlugin('own', () => storage), { ...hookPlugin(told), secrets: ['url'] }];
  const secret = { url: { env: 'CHAT_URL' }, use: 'told', retries: 0 };
  const spool = join(folder(), 'spool');
  const withHook = (policy: string): OpenArchiveOptions['config'] =>
    config('own', { retention: { keep: 1 }, receive: { spool }, hooks: [{ ...secret, policy }] });
  const logger = recordingLogger();
  const guarded = await openArchive({ config: withHook('fail'), plugins, logger });
  expect((await guarded.backups()).backups.map(({ id }) => id)).toEqual(ids);
  expect(await guarded.expire()).toMatchObject({ results: [], failure: { code: 'HOOK_FAILED' } });
  expect(logger.lines).toContainEqual(expect.stringContaining('hook told cannot be told of anything yet'));
  await guarded.close();
  const informed = await openArchive({ config: withHook('warn'), plugins });
  const { failure, results } = await informed.expire();
  expect(failure).toBeUndefined();
  expect(results).toMatchObject([{ removed: ids.slice(0, 2) }]);
  await informed.close();
  expect(told).toEqual([]);
  const env = { CHAT_URL: 'https://chat.example' };
  const later = await openArchive({ config: withHook('warn'), plugins, env });
  await later.expire();
  await later.close();
  expect(told.map(({ name }) => name)).toEqual([
    'expire.planned',
    'expire.finished',
    'expire.planned',
    'expire.finished',
  ]);
});

test('a backup that cannot be begun has failed, and hooks are told of it', async () => {
  const { storage } = await filled();
  const told: ArchiveEvent[] = [];
  const plugins = [storagePlugin('own', () => storage), hookPlugin(told)];
  const hooks = [{ use: 'told' }];
  const events: string[] = [];
  const onEvent = (name: string): void => void events.push(name);
  const postgres = { url: { env: 'URL_OF_NO_SERVER' } };
  const archive = await openArchive({ config: config('own', { hooks, postgres }), plugins });
  await expect(archive.backup({ onEvent })).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
  await archive.close();
  const sealed = { ...storagePlugin('own', () => storage), secrets: ['key'] };
  const repositories = [{ name: 'near', storage: { use: 'own', key: { env: 'NO_KEY' } } }];
  const without = await openArchive({
    config: config('own', { hooks, repositories }),
    plugins: [sealed, hookPlugin(told)],
  });
  await expect(without.backup({ onEvent })).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
  await without.close();
  expect(told.map(({ name, data }) => [name, (data as { readonly code: string }).code])).toEqual([
    ['backup.failed', 'SECRET_UNAVAILABLE'],
    ['backup.failed', 'SECRET_UNAVAILABLE'],
  ]);
  expect(events).toEqual(['backup.failed', 'backup.failed']);
});

test('a receiver that ends by itself tells hooks why, but not that another one is at work', async () => {
  const { storage } = await filled();
  const told: ArchiveEvent[] = [];
  const plugins = [storagePlugin('own', () => storage), hookPlugin(told)];
  const hooks = [{ use: 'told' }];
  const postgres = { url: { env: 'URL_OF_NO_SERVER' } };
  const archive = await openArchive({ config: config('own', { hooks, postgres }), plugins });
  await expect(archive.receive()).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
  await archive.close();
  expect(told).toMatchObject([
    { name: 'wal.state', data: { state: 'SECRET_UNAVAILABLE' }, condition: { key: 'receive', state: 'open' } },
  ]);
  const spool = join(folder(), 'spool');
  const other = SpoolLock.acquire(join(spool, 'main'));
  onTestFinished(() => other.release());
  const settings = { hooks, receive: { spool }, postgres: { url: 'postgres://nobody@127.0.0.1:1/' } };
  const second = await openArchive({ config: config('own', settings), plugins });
  await expect(second.receive()).rejects.toMatchObject({ code: 'SPOOL_LOCKED' });
  await second.close();
  expect(told).toHaveLength(1);
});

test('a drill and a verification that come to nothing are told; those that are used wrongly are not', async () => {
  const told: ArchiveEvent[] = [];
  const sealed = { ...storagePlugin('own', () => new MemoryStorage()), secrets: ['key'] };
  const repositories = [{ name: 'near', storage: { use: 'own', key: { env: 'NO_KEY' } } }];
  const settings = config('own', { hooks: [{ use: 'told' }], repositories });
  const archive = await openArchive({ config: settings, plugins: [sealed, hookPlugin(told)] });
  await expect(archive.drill({ folder: join(folder(), 'drill') })).rejects.toMatchObject({
    code: 'SECRET_UNAVAILABLE',
  });
  await expect(archive.drill({ folder: '/nowhere', repository: 'far' })).rejects.toMatchObject({ code: 'USAGE' });
  await expect(archive.verify()).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
  await expect(archive.verify({ repositories: ['far'] })).rejects.toMatchObject({ code: 'USAGE' });
  await archive.close();
  expect(told.map(({ name, summary }) => `${name} ${summary.split(':')[0]}`)).toEqual([
    'drill.failed a backup of repository near could not be tried',
    'verify.failed verifying repository near',
  ]);
});

test('what only reads, and WAL that is archived, need no hook', async () => {
  const { storage, ids } = await filled();
  const plugins = [storagePlugin('own', () => storage)];
  const archive = await opened({ config: config('own', { hooks: [{ use: 'not-installed' }] }), plugins });
  expect((await archive.backups()).backups.map(({ id }) => id)).toEqual(ids);
  const { name, bytes } = walSegment(500n);
  const path = join(folder(), name);
  writeFileSync(path, bytes);
  await archive.walPush({ path, name });
  await expect(archive.expire()).rejects.toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
});

test('what gc has removed from one repository is told, though it is cancelled in the next one', async () => {
  const { storage } = await filled();
  const far = new Hanging();
  await repositoryOn(far, 'far').open({ create: true });
  const plugins = [storagePlugin('own', () => storage), storagePlugin('hanging', () => far)];
  const repositories = [
    { name: 'near', storage: { use: 'own' } },
    { name: 'far', storage: { use: 'hanging' } },
  ];
  const archive = await opened({ config: config('own', { repositories }), plugins });
  const call = new AbortController();
  const told: string[] = [];
  const onResult = ({ repository }: { readonly repository: string }, among: number): void => {
    told.push(`${repository} of ${among}`);
    call.abort();
  };
  await expect(archive.gc({ onResult, signal: call.signal })).rejects.toMatchObject({ code: 'ABORTED' });
  expect(told).toEqual(['near of 2']);
});

test('two archives know nothing of each other: the abort of one call, and the end of one archive, are no matter of the other', async () => {
  const { storage } = await filled();
  const hanging = new Hanging();
  await repositoryOn(hanging, 'near').open({ create: true });
  const one = await opened({ config: config('own'), plugins: [storagePlugin('own', () => hanging)] });
  const other = await opened({ config: config('own'), plugins: [storagePlugin('own', () => storage)] });
  const controller = new AbortController();
  const calls = [one.backups({ signal: controller.signal }), one.backups()];
  for (const call of calls) call.catch(() => undefined); // looked at below
  await expect.poll(() => hanging.lists).toBe(2);
  controller.abort();
  await expect(calls[0]).rejects.toMatchObject({ code: 'ABORTED' });
  expect(hanging.stopped).toBe(1);
  // What runs still is cancelled and waited for.
  await one.close();
  expect(hanging.stopped).toBe(2);
  await expect(calls[1]).rejects.toMatchObject({ code: 'ABORTED' });
  await one.close();
  await expect(one.backups()).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('closed') as string,
  });
  expect((await other.backups()).backups).toHaveLength(3);
});

test('the signal of the archive is one of every call', async () => {
  const hanging = new Hanging();
  await repositoryOn(hanging, 'near').open({ create: true });
  const controller = new AbortController();
  const { signal } = controller;
  const archive = await opened({ config: config('own'), plugins: [storagePlugin('own', () => hanging)], signal });
  const calls = [archive.backups(), archive.map()];
  for (const call of calls) call.catch(() => undefined); // looked at below
  await expect.poll(() => hanging.lists).toBeGreaterThan(1);
  controller.abort();
  for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'ABORTED' });
});

test('repositories stay open between calls, but for those that one call wants in its own way', async () => {
  const { storage } = await filled();
  const log = { made: 0, closed: 0 };
  storage.close = async (): Promise<void> => void (log.closed += 1);
  const plugin = storagePlugin('own', () => {
    log.made += 1;
    return storage;
  });
  const logger = recordingLogger();
  const archive = await openArchive({ config: config('own'), plugins: [plugin], logger });
  expect(log.made).toBe(0);
  await archive.backups();
  await archive.show('latest');
  expect(log).toEqual({ made: 1, closed: 0 });
  await archive.verify({ level: 'chain', rate: 1 << 30 });
  expect(log).toEqual({ made: 2, closed: 1 });
  await archive.close();
  expect(log).toEqual({ made: 2, closed: 2 });
});

test('a config that is in no file restores nothing without a command that has it', async () => {
  const { storage } = await filled();
  const plugins = [storagePlugin('own', () => storage)];
  const archive = await opened({ config: config('own'), plugins });
  await expect(archive.planRestore()).rejects.toMatchObject({ code: 'USAGE' });
  const command = ['pgark', '--config', '/etc/pgark.yaml'];
  const { settings } = await (await opened({ config: config('own'), plugins, command })).planRestore();
  expect(new Map(settings).get('restore_command')).toContain('pgark --config /etc/pgark.yaml --cluster main wal-fetch');
});
