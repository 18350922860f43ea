import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { isArchiveError, type ArchiveError } from '../../src/contracts/errors.ts';
import { API_VERSION, type Plugin } from '../../src/contracts/plugin.ts';
import { Secret } from '../../src/contracts/secret.ts';
import { Registry, type RegistryOptions } from '../../src/plugins/registry.ts';
import { pluginPackage, pluginSource, recordingLogger, section, tree } from './support.ts';

function registry(directory: string, options: Partial<RegistryOptions> = {}): Registry {
  return new Registry({ directory, env: {}, logger: recordingLogger(), ...options });
}

async function failure(work: Promise<unknown>): Promise<ArchiveError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isArchiveError(error)) throw new Error('no ArchiveError', { cause: error });
  return error;
}

/** What the fake plugins hand out beside the contract. */
interface Created {
  readonly id: string;
  readonly options: Readonly<Record<string, unknown>>;
}

describe('finding plugins', () => {
  test('a short name is ours first, then a third party, then a package of that name that says it is a plugin', async () => {
    const root = tree({
      ...pluginPackage('@pgark/codec-one', { name: 'ours' }),
      ...pluginPackage('pgark-codec-one', { name: 'theirs' }),
      ...pluginPackage('pgark-codec-two', { name: 'theirs' }),
      ...pluginPackage('three', { name: 'plain' }),
      ...pluginPackage('@scope/four', { name: 'scoped' }),
      'node_modules/five/package.json': '{"name":"five","main":"index.js"}',
      'node_modules/five/index.js': 'throw new Error("must not be loaded")',
    });
    const plugins = registry(root);
    const name = async (use: string): Promise<string> => (await plugins.plugin('codec', use)).name;
    expect(await name('one')).toBe('ours');
    expect(await name('pgark-codec-one')).toBe('theirs');
    expect(await name('two')).toBe('theirs');
    expect(await name('three')).toBe('plain');
    expect(await name('@scope/four')).toBe('scoped');
    expect(await failure(name('five'))).toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
  });

  test('from the config folder upwards first, then from pgark', async () => {
    const root = tree({ ...pluginPackage('@pgark/codec-up', { name: 'above' }), 'etc/app/pgark.yaml': '' });
    expect((await registry(join(root, 'etc/app')).plugin('codec', 'up')).name).toBe('above');
    expect((await registry('/').plugin('codec', 'zstd')).suffix).toBe('zst');
  });

  test('a path is relative to the config: a file, or the folder of a package', async () => {
    const root = tree({
      'own.mjs': pluginSource({ name: 'file' }),
      ...pluginPackage('pack', { name: 'folder' }, 'packages'),
    });
    expect((await registry(root).plugin('codec', './own.mjs')).name).toBe('file');
    expect((await registry(root).plugin('codec', join(root, 'own.mjs'))).name).toBe('file');
    expect((await registry(root).plugin('codec', './packages/pack')).name).toBe('folder');
    expect(await failure(registry(root).plugin('codec', './gone.mjs'))).toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
      message: `cannot find the plugin ${root}/gone.mjs: ENOENT`,
    });
  });

  test('"exports" is honoured: conditions, nesting, fallbacks; and nothing outside the package', async () => {
    const other = { 'node_modules/pgark-codec-e/lib/e.js': pluginSource({ name: 'e' }) };
    for (const exports of [
      './lib/e.js',
      { import: './lib/e.js', require: './no.cjs' },
      { '.': { browser: './no.js', node: { import: './lib/e.js' }, default: './no.js' } },
      ['not-relative', './lib/e.js'],
    ]) {
      const root = tree({ ...pluginPackage('pgark-codec-e', { name: 'e', exports }), ...other });
      expect((await registry(root).plugin('codec', 'e')).name).toBe('e');
    }
    for (const exports of [{ './other': './lib/e.js' }, { require: './lib/e.js' }, '../../evil.js']) {
      const root = tree(pluginPackage('pgark-codec-e', { name: 'e', exports }));
      expect(await failure(registry(root).plugin('codec', 'e'))).toMatchObject({
        code: 'PLUGIN_INVALID',
        message: 'package pgark-codec-e exports nothing that can be imported',
      });
    }
  });

  test('H-62 a codec that is not installed is fatal and says what to install', async () => {
    const root = tree({});
    const error = await failure(registry(root).createCodec(section('brotli')));
    expect(error).toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
      exitCode: 3,
      message: 'codec "brotli" is not installed: there is no package @pgark/codec-brotli, pgark-codec-brotli, brotli',
    });
    expect(error.hint).toContain('npm install @pgark/codec-brotli');
    expect(await failure(registry(root).createCodec(section('../../etc\\passwd;x')))).toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
    });
    expect(await failure(registry(root).createCodec(section('@a/b/c')))).toMatchObject({ code: 'PLUGIN_NOT_FOUND' });
  });
});

describe('checking plugins', () => {
  test('kind and API version are refused before any code runs, naming plugin, wanted and got', async () => {
    const before = 'throw new Error("loaded");';
    const root = tree({
      ...pluginPackage('pgark-codec-old', { name: 'old', apiVersion: 2, before }),
      ...pluginPackage('some-storage', { kind: 'storage', before }),
      'late.mjs': pluginSource({ apiVersion: 7 }),
      'kind.mjs': pluginSource({ kind: 'hook' }),
    });
    expect(await failure(registry(root).plugin('codec', 'old'))).toMatchObject({
      code: 'PLUGIN_INCOMPATIBLE',
      message: `plugin pgark-codec-old is made for plugin API 2, wanted ${API_VERSION}`,
    });
    expect(await failure(registry(root).plugin('codec', 'some-storage'))).toMatchObject({
      code: 'PLUGIN_INCOMPATIBLE',
      message: 'plugin some-storage is a storage, wanted a codec',
    });
    expect((await failure(registry(root).plugin('codec', './late.mjs'))).code).toBe('PLUGIN_INCOMPATIBLE');
    expect((await failure(registry(root).plugin('codec', './kind.mjs'))).code).toBe('PLUGIN_INCOMPATIBLE');
  });

  test.each([
    ['no default export', 'export const a = 1;', 'has no manifest as its default export'],
    ['throws', 'throw new Error("boom");', 'cannot load plugin ./p.mjs: boom'],
    ['syntax', 'export default {', 'cannot load plugin ./p.mjs: '],
    [
      'missing library',
      'import "not-there"; export default {};',
      "cannot load plugin ./p.mjs: Cannot find package 'not-there'",
    ],
    ['no name', pluginSource({ name: '' }), 'has no name'],
    ['no create', pluginSource({ members: 'create: undefined' }), 'has no function "create"'],
    ['no options', pluginSource({ members: 'options: {}' }), 'has no options schema'],
    ['bad suffix', pluginSource({ suffix: '../x' }), 'has no valid suffix'],
  ])('PLUGIN_INVALID: %s', async (_, source, message) => {
    const error = await failure(registry(tree({ 'p.mjs': source })).plugin('codec', './p.mjs'));
    expect(error.code).toBe('PLUGIN_INVALID');
    expect(error.message).toContain(message);
  });

  test('what it creates must be of its kind; package.json must agree with the code', async () => {
    const root = tree({
      'codec.mjs': pluginSource({ members: 'create: () => ({ suffix: "xx", encode() {} })' }),
      'suffix.mjs': pluginSource({ members: 'create: () => ({ suffix: "yy", encode() {}, decode() {} })' }),
      'storage.mjs': pluginSource({ kind: 'storage', members: 'create: () => ({ put() {}, get() {} })' }),
      ...pluginPackage('pgark-codec-lie', { field: { kind: 'codec', name: 'other', apiVersion: 1, suffix: 'xx' } }),
    });
    const plugins = registry(root);
    const message = async (work: Promise<unknown>): Promise<string> => (await failure(work)).message;
    expect(await message(plugins.createCodec(section('./codec.mjs')))).toContain('created a codec without decode');
    expect(await message(plugins.createCodec(section('./suffix.mjs')))).toContain('declares the suffix "xx"');
    expect(await message(plugins.createStorage(section('./storage.mjs')))).toContain(
      'without stat, list, remove, close',
    );
    expect(await message(plugins.plugin('codec', 'lie'))).toContain('something else in its package.json');
  });
});

describe('options', () => {
  const schema = z.strictObject({
    level: z.int().min(1).max(19).default(3),
    tags: z.array(z.string()).optional(),
    code: z.string().optional(),
    nested: z.strictObject({ on: z.boolean() }).optional(),
    key: z.instanceof(Secret).optional(),
    keys: z.array(z.instanceof(Secret)).optional(),
  });
  const plugin: Plugin<'codec', z.infer<typeof schema>> = {
    name: 'opt',
    kind: 'codec',
    apiVersion: API_VERSION,
    suffix: 'opt',
    secrets: ['key', 'keys'],
    options: schema,
    create: (options) =>
      ({ id: 'opt', suffix: 'opt', encode: (source) => source, decode: (source) => source, options }) as Created &
        ReturnType<Plugin<'codec'>['create']>,
  };
  const given = (env: NodeJS.ProcessEnv = {}): Registry => registry('/', { plugins: [plugin], env });
  const created = async (...args: Parameters<typeof section>): Promise<Created['options']> =>
    ((await given({ KEY: 'k2' }).createCodec(section(...args))) as unknown as Created).options;

  test('defaults of the plugin are filled in, issues are told as config paths', async () => {
    expect(await created('opt')).toEqual({ level: 3 });
    const error = await failure(given().createCodec(section('opt', { level: 99, nested: { on: 'x' }, colour: 1 })));
    expect(error.code).toBe('PLUGIN_OPTIONS');
    expect(error.message).toMatch(/repositories\[0\]\.storage\.level: too big/);
    expect(error.message).toContain('repositories[0].storage.nested.on: ');
    expect(error.message).toMatch(/repositories\[0\]\.storage: .*"colour"/);
  });

  test('texts of variables become numbers where the plugin wants one, and stay texts where it does not', async () => {
    const options = { level: '7', code: '0123', tags: '[a, b]' };
    expect(await created('opt', options, ['level', 'code', 'tags'])).toEqual({
      level: 7,
      code: '0123',
      tags: ['a', 'b'],
    });
    expect((await failure(given().createCodec(section('opt', { level: '7' })))).code).toBe('PLUGIN_OPTIONS');
    expect((await failure(given().createCodec(section('opt', { level: 'high' }, ['level'])))).code).toBe(
      'PLUGIN_OPTIONS',
    );
  });

  test('options that are secrets are read and wrapped', async () => {
    const options = await created('opt', { key: 'k1', keys: [{ env: 'KEY' }, 'k3'] });
    expect((options['key'] as Secret).reveal()).toBe('k1');
    expect((options['keys'] as Secret[]).map((key) => key.reveal())).toEqual(['k2', 'k3']);
    expect(await failure(given().createCodec(section('opt', { key: { env: 'NOPE' } })))).toMatchObject({
      code: 'SECRET_UNAVAILABLE',
      message: 'repositories[0].storage.key: the environment variable NOPE is not set',
    });
  });
});

describe('registry', () => {
  test('importing happens once and only for what is named', async () => {
    const before = 'globalThis.pgarkTestLoads = (globalThis.pgarkTestLoads ?? 0) + 1;';
    const root = tree({
      ...pluginPackage('pgark-codec-once', { name: 'once', suffix: 'once', before }),
      ...pluginPackage('pgark-codec-never', { name: 'never', suffix: 'never', before: 'throw new Error("loaded");' }),
    });
    const plugins = registry(root);
    expect((await plugins.list()).filter(({ package: name }) => name.startsWith('pgark-codec-'))).toMatchObject([
      { kind: 'codec', name: 'never', suffix: 'never', apiVersion: 1, version: '1.2.3' },
      { kind: 'codec', name: 'once' },
    ]);
    await Promise.all([plugins.createCodec(section('once')), plugins.createCodec(section('once'))]);
    await plugins.codecForSuffix('once');
    expect((globalThis as { pgarkTestLoads?: number }).pgarkTestLoads).toBe(1);
  });

  test('a codec is found by the suffix that its package declares', async () => {
    const root = tree(pluginPackage('somebody-elses-codec', { name: 'rot', suffix: 'rot13' }));
    const plugins = registry(root);
    expect((await plugins.codecForSuffix('rot13')).id).toBe('rot');
    expect(await plugins.codecForSuffix('rot13')).toBe(await plugins.codecForSuffix('rot13'));
    expect((await plugins.codecForSuffix('gz')).suffix).toBe('gz');
    expect(await failure(plugins.codecForSuffix('nope'))).toMatchObject({
      code: 'CODEC_UNKNOWN',
      message: 'no installed codec reads ".nope"',
    });
  });

  test('broken packages, links that lead nowhere and loops do not hide the others', async () => {
    const root = tree({
      'node_modules/broken/package.json': '{ "name": ',
      'node_modules/odd/package.json': '[]',
      'node_modules/strange/package.json': '{"pgark": {"kind": "toaster", "name": "t", "apiVersion": 1}}',
      'node_modules/file': 'not a folder',
      'node_modules/folder/package.json/x': 'a folder in the place of a file',
      ...pluginPackage('pgark-codec-good', { name: 'good', suffix: 'good' }),
    });
    symlinkSync('/not/there', join(root, 'node_modules/dangling'));
    symlinkSync('itself', join(root, 'node_modules/itself'));
    symlinkSync('@self', join(root, 'node_modules/@self'));
    symlinkSync('.', join(root, 'node_modules/@loop'));
    const found = (await registry(root).list()).map(({ package: name }) => name);
    expect(found).toContain('pgark-codec-good');
    expect(found).not.toContain('strange');
  });

  test('two given plugins of one name are refused', () => {
    const one = {
      name: 'x',
      kind: 'hook',
      apiVersion: API_VERSION,
      options: z.unknown(),
      create: () => ({}),
    } as unknown as Plugin;
    expect(() => registry('/', { plugins: [one, one] })).toThrow('two plugins are the hook x');
  });

  test('a plugin is given the folder, the logger and the identities', async () => {
    const root = tree({ 'p.mjs': pluginSource({ kind: 'hook' }) });
    const identities = (): Promise<readonly Secret[]> => Promise.resolve([new Secret('id')]);
    const hook = (await registry(root, { identities }).createHook(section('./p.mjs'))) as unknown as {
      context: { directory: string; logger: object; identities: typeof identities };
    };
    expect(hook.context).toMatchObject({ directory: root, identities });
  });
});
