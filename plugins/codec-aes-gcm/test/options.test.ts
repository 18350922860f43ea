import plugin from '@pgark/codec-aes-gcm';
import { API_VERSION, Secret } from '@pgark/sdk';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Registry } from '../../../core/src/plugins/registry.ts';
import { runCli } from '../../../test/support/cli.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { codecOf, decode, encode, entry, KEY, OTHER_KEY } from './objects.ts';

const base64 = KEY.toString('base64');
const THIRD_KEY = Buffer.concat([OTHER_KEY.subarray(16), KEY.subarray(16)]);

test('the manifest says what package.json says', () => {
  const { pgark } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { pgark: unknown };
  const { kind, name, suffix } = plugin;
  expect(pgark).toEqual({ kind, name, suffix, apiVersion: API_VERSION });
});

describe('keys', () => {
  const issues = async (keys: unknown): Promise<readonly string[]> => {
    const result = await plugin.options['~standard'].validate({ keys });
    return (result.issues ?? []).map(({ path, message }) => `${path?.map(String).join('.')}: ${message}`);
  };
  const key = (text: string, id = 'k') => ({ id, key: new Secret(text) });
  const other = OTHER_KEY.toString('hex');

  test.each([
    ['base64', base64],
    ['base64 without padding', base64.slice(0, -1)],
    ['base64 of URLs', Buffer.alloc(32, 'ÿþ?', 'latin1').toString('base64url')],
    ['hexadecimal digits', KEY.toString('hex')],
    ['upper case', KEY.toString('hex').toUpperCase()],
    ['with white space around', ` ${base64}\r\n`],
  ])('are 32 bytes: %s', async (_, text) => {
    expect(await issues([key(text), key(other, 'Other_key.2')])).toEqual([]);
  });

  test.each([
    ['31 bytes', KEY.subarray(1).toString('base64')],
    ['33 bytes', Buffer.concat([KEY, Buffer.of(1)]).toString('base64')],
    ['31 bytes in hexadecimal digits', KEY.subarray(1).toString('hex')],
    ['a password', 'correct horse battery staple'],
    ['bits beyond the last byte', `${base64.slice(0, -2)}9=`],
    ['a space within', `${base64.slice(0, 20)} ${base64.slice(20)}`],
    ['nothing', ''],
  ])('are not %s, and the message does not tell them', async (_, text) => {
    const found = await issues([key(other, 'fine'), key(text)]);
    expect(found).toEqual([expect.stringMatching(/^keys\.1\.key: must be 32 bytes, as base64 or/)]);
    if (text !== '') expect(found.join('')).not.toContain(text.trim());
  });

  test('are random, and each is another', async () => {
    for (const byte of [0, 255])
      expect(await issues([key(Buffer.alloc(32, byte).toString('base64'))])).toEqual([
        expect.stringContaining('keys.0.key: must be random: all its bytes are the same'),
      ]);
    expect(await issues([key(base64, 'a'), key(other, 'b'), key(KEY.toString('hex'), 'c')])).toEqual([
      'keys.2.key: is the same as that of keys[0]: every id has a key of its own',
    ]);
  });

  test('have ids of plain letters, each its own', async () => {
    for (const id of ['', 'x'.repeat(65), 'a b', 'ä', 'a/b', 'a:b', 'a\n'])
      expect(await issues([key(base64, id)])).toEqual([expect.stringContaining('keys.0.id: must be 1 to 64 letters')]);
    expect(await issues([key(base64, 'x'.repeat(64))])).toEqual([]);
    expect(await issues([key(base64), key(other)])).toEqual([
      'keys.1.id: is the same as that of keys[0]: every key has an id of its own',
    ]);
    expect(await issues([{ id: 2027, key: new Secret(base64) }])).toEqual([
      'keys.0.id: must be a text; put what looks like a number in quotes',
    ]);
  });

  test('are at least one where there is a list, and all of it is known', async () => {
    expect(await issues([])).toEqual(['keys: must hold at least one key']);
    expect(await issues(undefined)).toEqual([]);
    expect(await issues([{ id: 'k' }])).toEqual([expect.stringContaining('keys.0.key: must be a text, or one of')]);
    expect(await issues([{ ...key(base64), file: 'x' }])).toEqual([expect.stringContaining('"file"')]);
    expect(() => codecOf([entry('a b', KEY)])).toThrow('keys[0].id: must be 1 to 64 letters');
  });
});

function folder(files: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(tmpdir(), 'pgark-aes-gcm-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

describe('in a config', () => {
  const CONFIG = (keys: string): string => `repositories:
  - storage: { use: memory }
    codecs: [ { use: aes-gcm, keys: ${keys} } ]
`;

  test('each key comes from a variable, a file or a command; the secrets of a wrong one are not told', async () => {
    const directory = folder({ key: `${OTHER_KEY.toString('base64')}\n` });
    const script = `console.log('${THIRD_KEY.toString('hex')}')`;
    const keys = [
      { id: 'env', key: { env: 'KEY' } },
      { id: 'file', key: { file: 'key' } },
      { id: 'command', key: { command: [process.execPath, '-e', script] } },
    ];
    const create = async (own: readonly object[]): ReturnType<Registry['createCodec']> =>
      new Registry({ directory, env: { KEY: base64 }, logger: silentLogger }).createCodec({
        use: 'aes-gcm',
        options: { keys: own },
        path: 'repositories[0].codecs[0]',
        texts: [],
      });
    const codec = await create(keys);
    expect(codec.keyIds).toEqual(['env']);
    for (const [id, bytes] of [
      ['env', KEY],
      ['file', OTHER_KEY],
      ['command', THIRD_KEY],
    ] as const) {
      const object = await encode(codecOf([entry(id, bytes)]), Buffer.from(id));
      expect(String(await decode(codec as ReturnType<typeof codecOf>, object))).toBe(id);
    }
    await expect(create([...keys, { id: 'bad', key: `${base64}hunter2` }])).rejects.toMatchObject({
      code: 'PLUGIN_OPTIONS',
      message: expect.stringMatching(
        /^repositories\[0\]\.codecs\[0\]\.keys\[3\]\.key: must be 32 bytes[^]*$/,
      ) as string,
    });
    await expect(create([{ id: 'x', key: { env: 'NOT_SET' } }])).rejects.toMatchObject({
      code: 'SECRET_UNAVAILABLE',
      message: 'repositories[0].codecs[0].keys[0].key: the environment variable NOT_SET is not set',
    });
  });

  test('the codec of objects that the config does not write reads with the identities', async () => {
    const identities = async (): Promise<Secret[]> => [new Secret(`aes-gcm:gone:${base64}`)];
    const registry = new Registry({ directory: folder({}), env: {}, logger: silentLogger, identities });
    const codec = await registry.codecForSuffix('aesgcm');
    expect(codec.keyIds).toEqual([]);
    const object = await encode(codecOf([entry('gone', KEY)]), Buffer.from('still there'));
    expect(String(await decode(codec as ReturnType<typeof codecOf>, object))).toBe('still there');
  });

  test('H-64 "pgark config" shows ids and sources, and no key', async () => {
    const keys = `[ { id: a, key: "${base64}" }, { id: b, key: { env: KEY_B } } ]`;
    const cwd = folder({ 'pgark.yaml': CONFIG(keys), 'bad.yaml': CONFIG(`[ { id: a, key: "${base64}x" } ]`) });
    const env = { KEY_B: OTHER_KEY.toString('hex') };
    const check = await runCli(['config', 'check'], { cwd, env });
    expect(check).toMatchObject({ code: 0, stderr: '' });
    const explain = await runCli(['config', 'explain', '--json'], { cwd, env });
    expect(JSON.parse(explain.stdout)).toContainEqual(
      expect.objectContaining({
        key: 'repositories[0].codecs[0].keys',
        value: [
          { id: 'a', key: '[redacted]' },
          { id: 'b', key: { env: 'KEY_B' } },
        ],
      }),
    );
    const bad = await runCli(['config', 'check', '--config', 'bad.yaml'], { cwd, env });
    expect(bad).toMatchObject({ code: 3, stdout: '' });
    expect(bad.stderr).toContain('repositories[0].codecs[0].keys[0].key: must be 32 bytes');
    for (const { stdout, stderr } of [check, explain, bad]) {
      for (const secret of [base64, env.KEY_B]) expect(stdout + stderr).not.toContain(secret);
    }
  });
});
