import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStorage } from '@pgark/storage-memory';
import { describe, expect, test, vi } from 'vitest';
import { openParts, type ArchiveParts, type OpenPartsOptions } from '../src/archive-parts.ts';
import { API_VERSION, type Plugin } from '../src/contracts/plugin.ts';
import { Secret } from '../src/contracts/secret.ts';
import { loadConfig } from '../src/config/load.ts';
import type { StorageCall } from '../src/storage/observe.ts';
import { folder } from './config/support.ts';
import { recordingLogger } from './plugins/support.ts';
import { memoryStorage } from './repository/repository.ts';

async function open(
  text: string,
  options: Pick<OpenPartsOptions, 'plugins' | 'onStorageCall' | 'repositories' | 'asOf' | 'asOfRepositories'> & {
    readonly env?: NodeJS.ProcessEnv;
    readonly directory?: string;
  } = {},
): Promise<ArchiveParts> {
  const directory = options.directory ?? folder();
  writeFileSync(join(directory, 'pgark.yaml'), text);
  const { env, directory: _, ...more } = options;
  const loaded = await loadConfig({ directory, env: { HOME: directory, ...env } });
  return openParts(loaded, { logger: recordingLogger(), ...more });
}

const HISTORY = Buffer.from('1\t0/3000000\tno recovery target specified\n');
const SYSTEM = '7000000000000000001';

async function readHistory(archive: ArchiveParts): Promise<string | undefined> {
  const found = await archive.repositories[0].wal(SYSTEM).history(2);
  return found && Buffer.from(found.content).toString();
}

describe('openParts', () => {
  test('what it archives through codecs is read back, also when the config has changed since', async () => {
    const directory = folder();
    mkdirSync(join(directory, 'archive'));
    const config = (codecs: string): string =>
      `cluster: c\nrepositories: [ { storage: { use: fs, path: ./archive }, codecs: [ ${codecs} ] } ]\n`;
    const first = await open(config('{ use: gzip }, { use: zstd }'), { directory });
    await first.repositories[0].open({ create: true });
    expect(await first.repositories[0].wal(SYSTEM).push('00000002.history', { bytes: HISTORY })).toBe('stored');
    await first.close();
    const later = await open(config(''), { directory });
    await later.repositories[0].open();
    expect((await later.repositories[0].wal(SYSTEM).find('00000002.history'))?.codecs).toEqual(['gz', 'zst']);
    expect(await readHistory(later)).toBe(HISTORY.toString());
    await later.close();
  });

  test("a repository's prefix, rates and refusal to write hold for all that is stored and read", async () => {
    const directory = folder();
    mkdirSync(join(directory, 'archive'));
    const config = (more: string): string =>
      `cluster: c\nrepositories: [ { storage: { use: fs, path: ./archive }, prefix: a/b, maxUploadRate: 1MB, maxCalls: 2${more} } ]\n`;
    const calls: StorageCall[] = [];
    const writer = await open(config(''), { directory, onStorageCall: (_name, call) => calls.push(call) });
    await writer.repositories[0].open({ create: true });
    await writer.repositories[0].wal(SYSTEM).push('00000002.history', { bytes: HISTORY });
    await writer.close();
    expect(readdirSync(join(directory, 'archive', 'a', 'b'))).toContain('c');
    expect(
      calls.filter(({ call }) => call === 'put').map(({ key = '', bytes }) => [key.slice(0, 6), bytes]),
    ).toContainEqual(['a/b/c/', HISTORY.byteLength]);
    const reader = await open(config(', readOnly: true'), { directory });
    await reader.repositories[0].open();
    expect(await readHistory(reader)).toBe(HISTORY.toString());
    const push = reader.repositories[0].wal(SYSTEM).push('00000003.history', { bytes: HISTORY });
    await expect(push).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await reader.close();
  });

  test('a repository that is only read is none of those to write to, unless there is no other', async () => {
    const repository = (name: string, readOnly: boolean): string =>
      `{ name: ${name}, readOnly: ${readOnly}, storage: { use: fs, path: . } }`;
    const names = async (...list: readonly string[]): Promise<readonly (readonly string[])[]> => {
      const archive = await open(`cluster: c\nrepositories: [ ${list.join(', ')} ]\n`);
      await archive.close();
      return [archive.repositories, archive.writable].map((some) => some.map(({ name }) => name));
    };
    expect(await names(repository('old', true), repository('new', false))).toEqual([['old', 'new'], ['new']]);
    expect(await names(repository('old', true))).toEqual([['old'], ['old']]);
  });

  test.each(['lock: 14d', 'lock: 14d, readOnly: true'])(
    'H-62 { %s } on a storage that locks nothing is refused',
    async (more) => {
      const section = `{ storage: { use: fs, path: . }, ${more} }`;
      const refusal = { code: 'STORAGE_UNSUPPORTED', message: expect.stringContaining('"lock"') as string };
      await expect(open(`cluster: c\nrepositories: [ ${section} ]\n`)).rejects.toMatchObject(refusal);
      // One that works beside it does not make it a repository that is merely away.
      const other = '{ name: other, storage: { use: memory } }';
      await expect(open(`cluster: c\nrepositories: [ ${other}, ${section} ]\n`)).rejects.toMatchObject(refusal);
    },
  );

  test('with a lock all that is stored is locked', async () => {
    const archive = await open('cluster: c\nrepositories: [ { storage: { use: memory }, lock: 1h } ]\n');
    const [repository] = archive.repositories;
    expect(repository.lock).toBe(3_600_000);
    await repository.open({ create: true });
    await repository.wal(SYSTEM).push('00000002.history', { bytes: HISTORY });
    const keys: string[] = [];
    for await (const { key } of repository.storage.list('')) keys.push(key);
    expect(keys).toHaveLength(2);
    expect(await repository.storage.remove(keys)).toEqual({ retained: keys });
    await archive.close();
  });

  test('as of a moment a storage with versions is read as it was, and the others of the config as they are', async () => {
    const memory = new MemoryStorage({ versions: true });
    const plugin: Plugin<'storage'> = {
      name: 'versioned',
      kind: 'storage',
      apiVersion: API_VERSION,
      options: { '~standard': { version: 1, vendor: 'test', validate: () => ({ value: {} }) } },
      create: () => memory,
    };
    const config =
      'cluster: c\nrepositories: [ { storage: { use: versioned } }, { name: b, storage: { use: memory } } ]\n';
    const before = await open(config, { plugins: [plugin] });
    await before.repositories[0].open({ create: true });
    await before.repositories[0].wal(SYSTEM).push('00000002.history', { bytes: HISTORY });
    const asOf = new Date();
    await sleep(5);
    const keys: string[] = [];
    for await (const { key } of memory.list('')) keys.push(key);
    await memory.remove(keys);
    const past = await open(config, { plugins: [plugin], asOf, asOfRepositories: ['primary'] });
    const [first, second] = past.repositories;
    await first.open();
    expect(await readHistory(past)).toBe(HISTORY.toString());
    const push = first.wal(SYSTEM).push('00000003.history', { bytes: HISTORY });
    await expect(push).rejects.toMatchObject({ code: 'STORAGE_DENIED' });
    await second?.open({ create: true });
    await expect(
      open('cluster: c\nrepositories: [ { storage: { use: fs, path: . } } ]\n', { asOf }),
    ).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
    await past.close();
    await before.close();
  });

  test('H-62 a configured codec that cannot be had is fatal, and nothing stays open', async () => {
    let closed = 0;
    const storage: Plugin<'storage'> = {
      name: 'counting',
      kind: 'storage',
      apiVersion: API_VERSION,
      options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
      create: () =>
        ({
          capabilities: {},
          put() {},
          get() {},
          stat() {},
          list() {},
          remove() {},
          close: async () => void (closed += 1),
        }) as never,
    };
    const text = (rest: string): string => `repositories: [ { storage: { use: counting }${rest} } ]\n`;
    await expect(open(text(', codecs: [ { use: agee } ]'), { plugins: [storage] })).rejects.toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
    });
    await expect(open(`${text('')}hooks: [ { use: nobody } ]\n`, { plugins: [storage] })).rejects.toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
    });
    expect(closed).toBe(1);
  });

  /** Two folders, the second with what cannot be had. */
  async function two(far: string, options: Parameters<typeof open>[1] = {}): Promise<ArchiveParts> {
    const directory = options.directory ?? folder();
    for (const name of ['near', 'far']) mkdirSync(join(directory, name), { recursive: true });
    const near = '{ name: near, storage: { use: fs, path: ./near } }';
    return open(`cluster: c\nrepositories: [ ${near}, { name: far, ${far} } ]\n`, { ...options, directory });
  }
  const SECRET = 'storage: { use: s3, bucket: b, region: r, accessKeyId: a, secretAccessKey: { file: ./key } }';
  const CODEC = 'storage: { use: fs, path: ./far }, codecs: [ { use: gzip }, { use: sealed, key: { file: ./key } } ]';

  /** A codec with a key, which marks what it writes. */
  const sealed: Plugin<'codec'> = {
    name: 'sealed',
    kind: 'codec',
    apiVersion: API_VERSION,
    suffix: 'sealed',
    secrets: ['key'],
    options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
    create: (options) => ({
      id: 'sealed',
      suffix: 'sealed',
      keyIds: [(options as { readonly key: Secret }).key.reveal()],
      encode: async function* (source) {
        yield Buffer.from('sealed:');
        yield* source;
      },
      decode: (source) => source,
    }),
  };

  test.each([
    ['a secret of the storage', SECRET, 'SECRET_UNAVAILABLE'],
    ['a key of a codec', CODEC, 'SECRET_UNAVAILABLE'],
    ['the plugin of the storage', 'storage: { use: nowhere }', 'PLUGIN_NOT_FOUND'],
    ['the plugin of a codec', 'storage: { use: fs, path: ./far }, codecs: [ { use: agee } ]', 'PLUGIN_NOT_FOUND'],
  ] as const)('%s that cannot be had fails one of two repositories and not the other', async (_, far, code) => {
    const directory = folder();
    const archive = await two(far, { directory, plugins: [sealed] });
    expect(archive.repositories.map(({ name }) => name)).toEqual(['near', 'far']);
    const [near, broken] = archive.repositories;
    await near.open({ create: true });
    expect(await near.wal(SYSTEM).push('00000002.history', { bytes: HISTORY })).toBe('stored');
    const push = async (): Promise<unknown> => {
      await broken?.open({ create: true });
      return broken?.wal(SYSTEM).push('00000002.history', { bytes: HISTORY });
    };
    await expect(push()).rejects.toMatchObject({ code });
    // Nothing of the WAL is there, in any form.
    const stored = readdirSync(join(directory, 'far'), { recursive: true, encoding: 'utf8' });
    expect(stored.filter((path) => path.includes('00000002'))).toEqual([]);
    await archive.close();

    // By its name it is alone: the error is at once. The other one needs nothing of it.
    await expect(two(far, { directory, plugins: [sealed], repositories: ['far'] })).rejects.toMatchObject({ code });
    const alone = await two(far, { directory, plugins: [sealed], repositories: ['near'] });
    expect(alone.repositories.map(({ name }) => name)).toEqual(['near']);
    expect(alone.writable).toEqual(alone.repositories);
    await alone.close();
  });

  test('what could not be made is made when it can be, and nothing was written past its codec', async () => {
    const directory = folder();
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const archive = await two(CODEC, { directory, plugins: [sealed] });
      const [, far] = archive.repositories;
      if (far === undefined) throw new Error('there is no second repository');
      await far.open({ create: true });
      const push = (): Promise<unknown> => far.wal(SYSTEM).push('00000002.history', { bytes: HISTORY });
      await expect(push()).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
      writeFileSync(join(directory, 'key'), 'mine');
      // Not at once: a secret may come from a command that takes its time.
      await expect(push()).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
      vi.advanceTimersByTime(10_000);
      expect(await push()).toBe('stored');
      expect((await far.wal(SYSTEM).find('00000002.history'))?.codecs).toEqual(['gz', 'sealed']);
      expect(far.codecs.map(({ keyIds }) => keyIds)).toEqual([undefined, ['mine']]);
      const names = readdirSync(join(directory, 'far'), { recursive: true, encoding: 'utf8' });
      const [file = ''] = names.filter((path) => path.includes('00000002.history'));
      expect(
        readFileSync(join(directory, 'far', file))
          .subarray(0, 7)
          .toString(),
      ).toBe('sealed:');
      await archive.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test('a storage that was made late is used, and closed', async () => {
    let closed = 0;
    const storage: Plugin<'storage'> = {
      name: 'keyed',
      kind: 'storage',
      apiVersion: API_VERSION,
      secrets: ['key'],
      options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
      create: async () => {
        const made = await memoryStorage();
        return {
          capabilities: made.capabilities,
          put: (...call) => made.put(...call),
          get: (...call) => made.get(...call),
          stat: (...call) => made.stat(...call),
          list: (...call) => made.list(...call),
          remove: (...call) => made.remove(...call),
          close: () => {
            closed += 1;
            return made.close();
          },
        };
      },
    };
    const directory = folder();
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const archive = await two('storage: { use: keyed, key: { file: ./key } }', { directory, plugins: [storage] });
      const [, far] = archive.repositories;
      await expect(far?.open({ create: true })).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
      writeFileSync(join(directory, 'key'), 'mine');
      vi.advanceTimersByTime(10_000);
      await far?.open({ create: true });
      expect(await far?.wal(SYSTEM).push('00000002.history', { bytes: HISTORY })).toBe('stored');
      expect(await far?.wal(SYSTEM).history(2)).toBeDefined();
      await archive.close();
      expect(closed).toBe(1);
    } finally {
      vi.useRealTimers();
    }
  });

  test('a wrong option is a mistake of the config whatever the others are; when none can be made the first says why', async () => {
    await expect(two('storage: { use: fs, pth: ./far }')).rejects.toMatchObject({ code: 'PLUGIN_OPTIONS' });
    const none = open(
      'repositories: [ { name: a, storage: { use: nowhere } }, { name: b, storage: { use: not-there } } ]\n',
    );
    await expect(none).rejects.toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
      message: expect.stringContaining('nowhere') as string,
    });
    await expect(two(SECRET, { repositories: ['c'] })).rejects.toMatchObject({
      code: 'USAGE',
      hint: 'It has: near, far.',
    });
  });

  test('the server is asked for only when it is wanted (H-80), with secrets from their sources', async () => {
    const text = (postgres: string): string =>
      `repositories: [ { storage: { use: memory } } ]\npostgres: ${postgres}\n`;
    const lazy = await open(text('{ url: { env: NOT_SET } }'));
    await expect(lazy.target()).rejects.toMatchObject({
      code: 'SECRET_UNAVAILABLE',
      message: 'postgres.url: the environment variable NOT_SET is not set',
    });
    const both = await open(text('{ url: "postgres://me@db1:6543/x", password: { env: PW } }'), {
      env: { PW: 'pa$$' },
    });
    const target = await both.target({ applicationName: 'app' });
    expect(target).toMatchObject({ hosts: [{ host: 'db1', port: 6543 }], user: 'me', applicationName: 'app' });
    expect(target.password).toBeInstanceOf(Secret);
    expect(target.password?.reveal()).toBe('pa$$');
    const environment = await open('repositories: [ { storage: { use: memory } } ]\n', {
      env: { PGHOST: 'db2', PGUSER: 'her', PGPASSWORD: 'x' },
    });
    expect(await environment.target()).toMatchObject({ hosts: [{ host: 'db2', port: 5432 }], user: 'her' });
    await Promise.all([lazy, both, environment].map((archive) => archive.close()));
  });
});
