import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { API_VERSION, type Plugin } from '../../src/contracts/plugin.ts';
import { Secret } from '../../src/contracts/secret.ts';
import { Registry } from '../../src/plugins/registry.ts';
import { mapSecrets } from '../../src/plugins/secret-options.ts';
import { recordingLogger, section, tree } from './support.ts';

const hide = { secret: (): string => 'S', misplaced: (): string => 'M' };

describe('secrets within options', () => {
  test('a name leads through lists and sections; all else, and the options given, stay as they are', async () => {
    const options = {
      a: 'x',
      keys: [{ id: 'i', key: 'k' }, { id: 'j' }, { key: { env: 'E' } }],
      tls: { ca: 1, key: 'k' },
    };
    const before = structuredClone(options);
    expect(await mapSecrets(options, ['keys[].key', 'tls.key', 'gone', 'gone[].key', 'tls.gone.key'], hide)).toEqual({
      a: 'x',
      keys: [{ id: 'i', key: 'S' }, { id: 'j' }, { key: 'S' }],
      tls: { ca: 1, key: 'S' },
    });
    expect(options).toEqual(before);
  });

  test('the visitor is told the path', async () => {
    const paths: string[] = [];
    const secret = (_: unknown, path: string): void => void paths.push(path);
    await mapSecrets(
      { keys: [{ key: 'a' }, { key: 'b' }], top: 1, deep: { in: 1 } },
      ['keys[].key', 'top', 'deep.in'],
      {
        secret,
      },
    );
    expect(paths).toEqual(['keys[0].key', 'keys[1].key', 'top', 'deep.in']);
  });

  test.each([
    ['a text for a list', 'k', 'M'],
    ['a section for a list', { key: 'k' }, 'M'],
    ['a text for an item', ['k', { key: 'k' }], ['M', { key: 'S' }]],
    ['a list for an item', [['k']], ['M']],
  ])('%s may hold the secret anywhere', async (_, keys, hidden) => {
    expect(await mapSecrets({ keys }, ['keys[].key'], hide)).toEqual({ keys: hidden });
    expect(await mapSecrets({ keys: 'k' }, ['keys[].key'], { secret: () => 'S' })).toEqual({ keys: 'k' });
  });
});

describe('secrets in a list of sections', () => {
  const schema = z.strictObject({ keys: z.array(z.strictObject({ id: z.string(), key: z.instanceof(Secret) })) });
  const made: z.infer<typeof schema>[] = [];
  const plugin: Plugin<'codec', z.infer<typeof schema>> = {
    name: 'opt',
    kind: 'codec',
    apiVersion: API_VERSION,
    suffix: 'opt',
    secrets: ['keys[].key'],
    options: schema,
    create: (options) => {
      made.push(options);
      return { id: 'opt', suffix: 'opt', encode: (source) => source, decode: (source) => source };
    },
  };
  const create = async (
    options: Readonly<Record<string, unknown>>,
    texts: readonly string[] = [],
  ): Promise<string[]> => {
    const directory = tree({});
    writeFileSync(join(directory, 'key'), 'from a file\n');
    const registry = new Registry({
      directory,
      env: { KEY: 'of the environment' },
      logger: recordingLogger(),
      plugins: [plugin],
    });
    await registry.createCodec(section('opt', options, texts));
    return made.at(-1)?.keys.map(({ id, key }) => `${id}=${key.reveal()}`) ?? [];
  };

  test('each comes from where it says', async () => {
    const command = [process.execPath, '-e', 'console.log("printed")'];
    const keys = [
      { id: 'a', key: 'plain' },
      { id: 'b', key: { env: 'KEY' } },
      { id: 'c', key: { file: 'key' } },
      { id: 'd', key: { command } },
    ];
    expect(await create({ keys })).toEqual(['a=plain', 'b=of the environment', 'c=from a file', 'd=printed']);
  });

  test('a list that is the text of a variable has its secrets wrapped too', async () => {
    expect(await create({ keys: '[{id: a, key: x}, {id: b, key: {env: KEY}}]' }, ['keys'])).toEqual([
      'a=x',
      'b=of the environment',
    ]);
  });

  test('a source that fails is named by its path, and a refused value is not told', async () => {
    const failure = async (keys: unknown): Promise<unknown> => create({ keys }).catch((error: unknown) => error);
    expect(
      await failure([
        { id: 'a', key: 'x' },
        { id: 'b', key: { env: 'NOPE' } },
      ]),
    ).toMatchObject({
      code: 'SECRET_UNAVAILABLE',
      message: 'repositories[0].storage.keys[1].key: the environment variable NOPE is not set',
    });
    const refused = await failure([{ id: 'a', key: 'hunter2', more: 1 }]);
    expect(isArchiveError(refused, 'PLUGIN_OPTIONS')).toBe(true);
    expect(JSON.stringify(refused) + String(refused)).not.toContain('hunter2');
  });
});
