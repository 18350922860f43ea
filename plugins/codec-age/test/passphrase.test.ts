import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as crypto from 'node:crypto';
import agePlugin, { AgeCodec } from '@pgark/codec-age';
import { Secret } from '@pgark/sdk';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { at, decode, encode, headerLength, source, textsOf } from './streams.ts';

vi.mock('node:crypto', async (original) => {
  const actual = await original<typeof crypto>();
  return { ...actual, scrypt: vi.fn(actual.scrypt) };
});
const scrypts = vi.mocked(crypto.scrypt);
beforeEach(() => {
  scrypts.mockClear();
});

const folder = mkdtempSync(join(tmpdir(), 'pgark-age-'));
afterAll(() => rmSync(folder, { recursive: true }));

const passphrase = new Secret('correct horse');
const workFactor = 8;
/** As a line of restore.identities. */
const identities = async (): Promise<Secret[]> => [new Secret(`# old\nage-passphrase: ${passphrase.reveal()}\r\n`)];
const content = Buffer.from('what only some may read');

describe('H-61 scrypt runs once', () => {
  test('for all objects of a run: they share a header, and nothing else', async () => {
    const codec = new AgeCodec({ passphrase, workFactor });
    const files = await Promise.all(Array.from({ length: 5 }, () => encode(codec, content)));
    files.push(await encode(codec, content));
    expect(scrypts).toHaveBeenCalledTimes(1);
    const length = headerLength(at(files, 0));
    expect(new Set(files.map((file) => file.toString('latin1', 0, length))).size).toBe(1);
    // The nonce from which the key of the payload is made, and what was sealed with it.
    expect(new Set(files.map((file) => file.toString('latin1', length, length + 16))).size).toBe(files.length);
    expect(new Set(files.map((file) => file.toString('latin1', length + 16))).size).toBe(files.length);
    for (const file of files) expect(await decode(codec, file)).toEqual(content);
    expect(scrypts).toHaveBeenCalledTimes(1);
  });

  test('for each header that is read, however often, and again in another run', async () => {
    const [one, two] = [new AgeCodec({ passphrase, workFactor }), new AgeCodec({ passphrase, workFactor })];
    const files = [await encode(one, content), await encode(one, content), await encode(two, content)];
    expect(headerLength(at(files, 0))).toBe(headerLength(at(files, 2)));
    expect(at(files, 0).subarray(0, headerLength(at(files, 0)))).not.toEqual(
      at(files, 2).subarray(0, headerLength(at(files, 2))),
    );
    scrypts.mockClear();
    const reader = new AgeCodec({}, { identities });
    for (const file of [...files, ...files]) {
      expect(await decode(reader, file)).toEqual(content);
      expect(await reader.inspect(source(file), {})).toEqual({ keyIds: ['passphrase'], unknown: 0, readable: true });
    }
    expect(scrypts).toHaveBeenCalledTimes(2);
  });

  test('one at a time, since each takes the memory of its work factor', async () => {
    const files = await Promise.all(
      Array.from({ length: 4 }, () => encode(new AgeCodec({ passphrase, workFactor }), content)),
    );
    let running = 0;
    let most = 0;
    const { scrypt } = await vi.importActual<typeof crypto>('node:crypto');
    scrypts.mockImplementation(((...call: Parameters<typeof crypto.scrypt>) => {
      most = Math.max(most, ++running);
      const done = call[4];
      scrypt(call[0], call[1], call[2], call[3], (error, key) => {
        running--;
        done(error, key);
      });
    }) as typeof crypto.scrypt);
    const reader = new AgeCodec({ passphrase });
    await Promise.all(files.map((file) => decode(reader, file)));
    expect(scrypts.mock.calls.length).toBeGreaterThanOrEqual(4);
    expect(most).toBe(1);
    scrypts.mockImplementation(scrypt);
  });

  test('a failure of it is not kept, and is not taken for damage', async () => {
    const codec = new AgeCodec({ passphrase, workFactor });
    const file = await encode(new AgeCodec({ passphrase, workFactor }), content);
    for (const attempt of [() => encode(codec, content), () => decode(codec, file)]) {
      scrypts.mockImplementationOnce(((...call: Parameters<typeof crypto.scrypt>) =>
        call[4](new Error('no memory'), Buffer.alloc(0))) as typeof crypto.scrypt);
      await expect(attempt()).rejects.toMatchObject({
        code: 'CODEC_KEY',
        message: expect.stringContaining('no memory'),
      });
    }
    expect(await decode(codec, file)).toEqual(content);
    expect(await decode(codec, await encode(codec, content))).toEqual(content);
  });
});

describe('another passphrase', () => {
  test('is CODEC_KEY and says where it goes', async () => {
    const file = await encode(new AgeCodec({ passphrase, workFactor }), content);
    for (const codec of [new AgeCodec({ passphrase: new Secret('battery staple') }), new AgeCodec({})]) {
      const error: unknown = await decode(codec, file).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'CODEC_KEY', hint: expect.stringContaining('age-passphrase:') });
      expect(textsOf(error)).not.toMatch(/battery|horse/);
      expect(await codec.inspect(source(file), {})).toEqual({ keyIds: [], unknown: 1, readable: false });
    }
  });

  test('rotated, by another one or by recipients, what was written before is still read', async () => {
    const before = await encode(new AgeCodec({ passphrase, workFactor }), content);
    const recipients = ['age1rt80jg6fgkjwqe8aekvj97dt27076mza0kydnm7gu48xa6gafefq6k88le'];
    for (const now of [{ passphrase: new Secret('battery staple'), workFactor }, { recipients }]) {
      const codec = new AgeCodec(now, { identities });
      expect(await decode(codec, before)).toEqual(content);
      const after = await encode(codec, content);
      await expect(decode(new AgeCodec({ passphrase }), after)).rejects.toMatchObject({ code: 'CODEC_KEY' });
    }
  });
});

describe('headers that are refused before scrypt runs', () => {
  const stanza = '-> scrypt Brspt5/bdIBtNZLSNNHXhw 18\n5aEhQJ35rxrZC8QeW0eT5UmwpomqaIEPuZVZlzl5/6M\n';
  const other = '-> X25519 SMSJ2HvsfpKTP4KUTH2FmRjTP3tXOrbOE0vNVdLdeGo\n4dnG2jYNjbMzzXEOS4pzSKhT/rYKEwoDJSZ1M5Ef+Q0\n';
  const end = '--- qbmKSBduAoXi5UTth3grD7nJ4+bo4nbe0qcRa5sicH8\n';
  const header = (...stanzas: readonly string[]): Buffer =>
    Buffer.from(`age-encryption.org/v1\n${stanzas.join('')}${end}`);

  test.each([
    ['an absurd work factor', stanza.replace(' 18\n', ' 30\n'), 'work factor of 30'],
    ['one that is a little too much', stanza.replace(' 18\n', ' 21\n'), 'work factor of 21'],
    ['one of many digits', stanza.replace(' 18\n', ' 99999999999999999999\n'), 'damaged'],
    ['one that is no number', stanza.replace(' 18\n', ' 0x12\n'), 'damaged'],
    ['one with a leading zero', stanza.replace(' 18\n', ' 018\n'), 'damaged'],
    ['a short salt', stanza.replace('Brspt5/', ''), 'damaged'],
    ['a salt in another form', stanza.replace('NNHXhw', 'NNHXhx'), 'damaged'],
    ['more arguments', stanza.replace(' 18\n', ' 18 19\n'), 'damaged'],
    ['a short body', stanza.replace('5aEhQJ35rxrZ', ''), 'damaged'],
    ['a recipient beside it', stanza + other, 'mixes a passphrase with recipients'],
    ['a second passphrase', stanza + stanza, 'mixes a passphrase with recipients'],
    ['nobody', '', 'names no recipient'],
  ])('%s', async (_name, stanzas, message) => {
    const codec = new AgeCodec({ passphrase });
    const reason = { code: 'CODEC_CORRUPT', message: expect.stringContaining(message) };
    await expect(decode(codec, header(stanzas))).rejects.toMatchObject(reason);
    await expect(codec.inspect(source(header(stanzas)), {})).rejects.toMatchObject(reason);
    expect(scrypts).not.toHaveBeenCalled();
  });
});

describe('in the config', () => {
  const validate = async (section: unknown): Promise<string> => {
    const result = await agePlugin.options['~standard'].validate(section);
    return (result.issues ?? []).map(({ message }) => message).join('\n');
  };

  test('a passphrase and recipients exclude each other, in one place or two', async () => {
    const recipient = 'age1rt80jg6fgkjwqe8aekvj97dt27076mza0kydnm7gu48xa6gafefq6k88le';
    expect(await validate({ passphrase, recipients: [recipient] })).toContain('exclude each other');
    expect(await validate({ passphrase, recipientsFiles: ['x'] })).toContain('exclude each other');
    expect(() => new AgeCodec({ passphrase, recipients: [recipient] })).toThrow('exclude each other');
  });

  test('an empty one is refused, and a work factor that nobody could read', async () => {
    expect(await validate({ passphrase: new Secret('') })).toContain('must not be empty');
    expect(await validate({ passphrase, workFactor: 21 })).not.toBe('');
    expect(agePlugin.secrets).toEqual(['passphrase']);
  });
});

/** age 1.1.1: `age -p`, with the passphrase "correct horse" and the content "hello\n". */
const BY_AGE =
  'YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBCcnNwdDUvYmRJQnROWkxTTk5IWGh3IDE4CjVhRWhRSjM1cnhyWkM4UWVXMGVUNVVtd3BvbXFhSUVQdVpWWmx6bDUv' +
  'Nk0KLS0tIHFibUtTQmR1QW9YaTVVVHRoM2dyRDduSjQrYm80bmJlMHFjUmE1c2ljSDgKBsFp86e6tKjvTjAHHzYD5osxsn+WkTvh3wJWqxP7ioFEOUMRTR8=';

test('what the age command wrote is read', async () => {
  expect(String(await decode(new AgeCodec({ passphrase }), Buffer.from(BY_AGE, 'base64')))).toBe('hello\n');
});

test('the age command reads what was written', async ({ skip }) => {
  for (const command of ['age', 'script'])
    if (spawnSync(command, ['--version']).error !== undefined) skip(`${command} is not installed`);
  const file = join(folder, 'file.age');
  const plain = join(folder, 'plain');
  writeFileSync(file, await encode(new AgeCodec({ passphrase, workFactor: 10 }), content));
  // The command asks on a terminal only.
  const { stdout } = spawnSync('script', ['-qec', `age --decrypt --output ${plain} ${file}`, '/dev/null'], {
    input: `${passphrase.reveal()}\n`,
    encoding: 'utf8',
  });
  expect(readFileSync(plain), stdout).toEqual(content);
});
