import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfigs, type LoadedConfig } from '../../src/config/load.ts';
import { diagnose, type Diagnosis, type DoctorOptions } from '../../src/plugins/doctor.ts';
import { listPlugins, namedPlugins, type ListedPlugin } from '../../src/plugins/listing.ts';
import { pluginPackage, pluginSource, recordingLogger, tree } from './support.ts';

const STORAGE = pluginSource({ kind: 'storage', name: 'store' });
const NEVER = 'const waiting = await new Promise(() => {});';

/** A config with these codecs after a storage that is well. */
function config(...codecs: readonly string[]): string {
  return `repositories: [ { storage: { use: ./store.mjs }, codecs: [ ${codecs.map((codec) => `{ ${codec} }`).join(', ')} ] } ]`;
}

async function load(directory: string): Promise<readonly LoadedConfig[]> {
  return loadConfigs({ path: 'pgark.yaml', env: {}, directory });
}

/** What is listed and was not there without this folder. */
async function listed(directory: string): Promise<readonly ListedPlugin[]> {
  const { plugins } = await listPlugins(directory, namedPlugins(await load(directory)));
  return plugins.filter(({ from }) => from === undefined || from.startsWith(directory));
}

async function examined(
  files: Readonly<Record<string, string>>,
  options: Partial<DoctorOptions> = {},
): Promise<readonly Diagnosis[]> {
  const directory = tree({ 'store.mjs': STORAGE, ...files });
  const named = namedPlugins(await load(directory));
  const { unreadable } = await listPlugins(directory, named);
  const found: Diagnosis[] = [];
  const all = { directory, env: {}, logger: recordingLogger(), ...options };
  for await (const each of diagnose(named, await listed(directory), unreadable, all)) found.push(each);
  return found;
}

describe('the list', () => {
  test('tells what is installed, what the config names, and what is missing, without running any of it', async () => {
    const before = 'throw new Error("loaded");';
    const directory = tree({
      'pgark.yaml': config('use: mine', 'use: ./own.mjs', 'use: gone', 'use: mine'),
      'store.mjs': before,
      'own.mjs': before,
      ...pluginPackage('pgark-codec-mine', { name: 'mine', suffix: 'mine', before }),
      ...pluginPackage('pgark-hook-new', { name: 'new', kind: 'hook', apiVersion: 9, before }),
    });
    const found = await listed(directory);
    expect(found).toEqual([
      {
        kind: 'codec',
        name: 'mine',
        suffix: 'mine',
        apiVersion: 1,
        supported: true,
        package: 'pgark-codec-mine',
        version: '1.2.3',
        pgarkRange: '^1.0.0',
        from: join(directory, 'node_modules/pgark-codec-mine'),
        namedBy: ['repositories[0].codecs[0]', 'repositories[0].codecs[3]'],
      },
      expect.objectContaining({ kind: 'hook', name: 'new', apiVersion: 9, supported: false, namedBy: [] }),
      {
        kind: 'storage',
        name: './store.mjs',
        from: join(directory, 'store.mjs'),
        namedBy: ['repositories[0].storage'],
      },
      { kind: 'codec', name: './own.mjs', from: join(directory, 'own.mjs'), namedBy: ['repositories[0].codecs[1]'] },
      {
        kind: 'codec',
        name: 'gone',
        namedBy: ['repositories[0].codecs[2]'],
        problem: expect.objectContaining({ code: 'PLUGIN_NOT_FOUND' }) as unknown,
      },
    ]);
  });

  test('several clusters: the place says which one; without a config nobody knows what is named', async () => {
    const directory = tree({
      'pgark.yaml': `clusters: { a: { ${config()} }, b: { ${config()} } }`,
      'store.mjs': STORAGE,
    });
    expect(await listed(directory)).toMatchObject([
      { namedBy: ['a: repositories[0].storage', 'b: repositories[0].storage'] },
    ]);
    const { plugins } = await listPlugins(directory, undefined);
    expect(plugins.length).toBeGreaterThan(5);
    expect(plugins.filter((plugin) => 'namedBy' in plugin)).toEqual([]);
  });
});

describe('the doctor', () => {
  test('what is well is loaded with its options, and what is installed beside it without', async () => {
    const found = await examined({
      'pgark.yaml': config('use: mine, level: 3'),
      ...pluginPackage('pgark-codec-mine', { name: 'mine', suffix: 'mine' }),
      ...pluginPackage('pgark-codec-other', { name: 'other', suffix: 'other' }),
      ...pluginPackage('pgark-hook-h', { name: 'h', kind: 'hook' }),
    });
    expect(found.map(({ use, place, state, message }) => [use, place, state, message])).toEqual([
      ['./store.mjs', 'repositories[0].storage', 'ok', 'is loaded, and takes its options'],
      ['mine', 'repositories[0].codecs[0]', 'ok', 'is loaded, and takes its options'],
      ['pgark-codec-other', undefined, 'ok', 'is loaded, and reads ".other"'],
      ['pgark-hook-h', undefined, 'ok', 'is loaded'],
    ]);
  });

  const schema =
    '{ "~standard": { version: 1, vendor: "x", validate: () => ({ issues: [{ message: "Level is too high", path: ["level"] }] }) } }';
  // What else the loader refuses is in registry.test.ts.
  const BROKEN: readonly (readonly [what: string, source: string | undefined, code: string, message: string])[] = [
    ['is missing', undefined, 'PLUGIN_NOT_FOUND', 'cannot find the plugin '],
    [
      'is of another API version',
      pluginSource({ apiVersion: 2 }),
      'PLUGIN_INCOMPATIBLE',
      'is made for plugin API 2, wanted 1',
    ],
    ['throws on load', 'throw new Error("boom");', 'PLUGIN_INVALID', 'cannot load plugin NAME: boom'],
    [
      'creates something else',
      pluginSource({ members: 'create: () => ({ suffix: "xx", encode() {} })' }),
      'PLUGIN_INVALID',
      'created a codec without decode',
    ],
    [
      'throws in create',
      pluginSource({ members: 'create: () => { throw new TypeError("no x"); }' }),
      'PLUGIN_INVALID',
      'fails when it is made: no x',
    ],
    [
      'refuses its options',
      pluginSource({ members: `options: ${schema}` }),
      'PLUGIN_OPTIONS',
      'PLACE.level: level is too high',
    ],
    [
      'lacks its secret',
      pluginSource({ members: 'secrets: ["key"]' }),
      'SECRET_UNAVAILABLE',
      'the environment variable NOPE is not set',
    ],
  ];

  /** These take the thread with them, or spoil it for the others. */
  const DEADLY: typeof BROKEN = [
    ['ends the process', 'process.exit(0);', 'PLUGIN_INVALID', 'is never loaded: it ends the process (with 0), or'],
    [
      'waits for what never comes',
      `${NEVER}; export default waiting;`,
      'PLUGIN_INVALID',
      'is never loaded: it ends the process (with 0), or waits for what does not come',
    ],
    [
      'throws after it was loaded',
      pluginSource({ before: 'queueMicrotask(() => { throw new Error("late"); });' }),
      'PLUGIN_INVALID',
      'throws outside of any call: late',
    ],
  ];

  test.each([
    ['that can be told', BROKEN],
    ['that is deadly', DEADLY],
  ])('each broken plugin %s has one clear error, and the others are looked at', async (_, broken) => {
    const at = (index: number): string => `./broken-${index}.mjs`;
    const codecs = broken.map((__, index) => `use: ${at(index)}, level: 99, key: { env: NOPE }`);
    const found = await examined({
      'pgark.yaml': config(...codecs, 'use: ./good.mjs'),
      'good.mjs': pluginSource(),
      ...Object.fromEntries(broken.flatMap(([, source], index) => (source === undefined ? [] : [[at(index), source]]))),
    });
    expect(found).toHaveLength(broken.length + 2);
    expect([found[0], found.at(-1)]).toMatchObject([
      { use: './store.mjs', state: 'ok' },
      { use: './good.mjs', state: 'ok' },
    ]);
    for (const [index, [what, , code, message]] of broken.entries()) {
      const diagnosis = found[index + 1];
      const wanted = message.replaceAll('NAME', at(index)).replaceAll('PLACE', `repositories[0].codecs[${index}]`);
      expect(diagnosis, what).toMatchObject({ use: at(index), state: 'failed', code });
      expect(diagnosis?.message, what).toContain(wanted);
      expect(diagnosis?.hint, what).toMatch(/^[A-Z].*\.$/);
    }
  });

  test('one that never ends is given up, in an endless loop too, and a cancelled run ends', async () => {
    const directory = tree({ 'pgark.yaml': config('use: ./p.mjs'), 'p.mjs': 'for (;;) {}', 'store.mjs': STORAGE });
    const looping = namedPlugins(await load(directory)).filter(({ kind }) => kind === 'codec');
    const run = async (options: Partial<DoctorOptions>): Promise<Diagnosis | undefined> => {
      const all = { directory, env: {}, logger: recordingLogger(), ...options };
      const first = await diagnose(looping, [], [], all).next();
      return first.done === true ? undefined : first.value;
    };
    expect(await run({ timeout: 1000 })).toMatchObject({
      state: 'failed',
      code: 'PLUGIN_INVALID',
      message: 'codec ./p.mjs is not done with loading after 1 s',
    });
    await expect(run({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(run({ signal: AbortSignal.timeout(500) })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('what is installed is looked at though no config names it: broken ones, and fields that are no manifest', async () => {
    const found = await examined({
      'pgark.yaml': config(),
      ...pluginPackage('pgark-codec-picky', {
        name: 'picky',
        members: 'create: () => { throw new Error("needs a key"); }',
      }),
      ...pluginPackage('pgark-hook-old', {
        name: 'old',
        kind: 'hook',
        apiVersion: 0,
        before: 'throw new Error("loaded");',
      }),
      ...pluginPackage('pgark-hook-other', {
        name: 'other',
        kind: 'hook',
        field: { kind: 'hook', name: 'else', apiVersion: 1 },
      }),
      ...pluginPackage('toaster', { field: { kind: 'toaster', name: 't', apiVersion: 1 } }),
      ...pluginPackage('unnamed', { field: { kind: 'hook', apiVersion: 1 } }),
      ...pluginPackage('text', { field: 'hook' }),
      ...pluginPackage('versionless', { field: { kind: 'hook', name: 'v', apiVersion: '1' } }),
    });
    const told = new Map(found.map(({ use, state, message }) => [use, `${state}: ${message}`]));
    expect(told.get('pgark-codec-picky')).toMatch(/^warning: does not read "\.xx" without options: .*needs a key/);
    expect(told.get('pgark-hook-old')).toBe('failed: plugin pgark-hook-old is made for plugin API 0, wanted 1');
    expect(told.get('pgark-hook-other')).toContain(
      'failed: plugin pgark-hook-other says something else in its package.json',
    );
    expect(told.get('toaster')).toMatch(
      /^failed: the "pgark" field in .*\/toaster\/package.json is no manifest: its kind is "toaster"$/,
    );
    expect(told.get('unnamed')).toContain('its name is not given');
    expect(told.get('text')).toContain('it is not an object');
    expect(told.get('versionless')).toContain('its apiVersion is not a number');
  });

  test('what a plugin writes goes to the log, and not among the results', async () => {
    const logger = recordingLogger();
    const source = pluginSource({ before: 'console.log("hello");' });
    await examined({ 'pgark.yaml': config('use: ./p.mjs'), 'p.mjs': source }, { logger });
    expect(logger.lines).toContain('debug: a plugin wrote: hello');
  });
});
