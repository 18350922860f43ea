import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import agePlugin, { AgeCodec } from '@pgark/codec-age';
import { Secret } from '@pgark/sdk';
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { testContext } from '@pgark/sdk/testing';
import { makeHeader, openHeader } from '../src/header.ts';
import { at, decode, encode, headerLength, source, textsOf } from './streams.ts';

const folder = mkdtempSync(join(tmpdir(), 'pgark-age-'));
afterAll(() => rmSync(folder, { recursive: true }));

const secrets = await Promise.all([generateX25519Identity(), generateX25519Identity(), generateX25519Identity()]);
const recipients = await Promise.all(secrets.map((secret) => identityToRecipient(secret)));
const hybrid = await generateHybridIdentity();
const hybridRecipient = await identityToRecipient(hybrid);
const content = Buffer.from('what only some may read');

const reader = (...texts: readonly string[]): AgeCodec =>
  new AgeCodec({}, { identities: async () => texts.map((text) => new Secret(text)) });

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error,
  );
}

const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
const context = testContext({ directory: folder, logger });

/** The codec as the config makes it. */
async function configured(section: Record<string, unknown>): Promise<AgeCodec> {
  const result = await agePlugin.options['~standard'].validate(section);
  if (result.issues !== undefined) throw new Error(result.issues.map(({ message }) => message).join('\n'));
  return (await agePlugin.create(result.value, context)) as AgeCodec;
}

describe('several recipients', () => {
  test('each of them alone opens an object, and nobody else', async () => {
    const [operations, escrow, stranger] = secrets;
    const writer = new AgeCodec({ recipients: recipients.slice(0, 2) });
    expect(writer.keyIds).toEqual(recipients.slice(0, 2));
    const encoded = await encode(writer, content);
    expect(await decode(reader(operations), encoded)).toEqual(content);
    expect(await decode(reader(escrow), encoded)).toEqual(content);
    expect(await decode(reader(stranger, escrow), encoded)).toEqual(content);
    await expect(decode(reader(stranger), encoded)).rejects.toMatchObject({
      code: 'CODEC_KEY',
      message: expect.stringContaining('2 recipients'),
    });
    expect(await reader(escrow).inspect(source(encoded), {})).toEqual({
      keyIds: [recipients[1]],
      unknown: 1,
      readable: true,
    });
    expect(await writer.inspect(source(encoded), {})).toEqual({ keyIds: [], unknown: 2, readable: false });
  });

  test('one that is given twice is written for once', async () => {
    const recipient = at(recipients, 0);
    expect(new AgeCodec({ recipients: [recipient, recipient] }).keyIds).toEqual([recipient]);
  });

  test('every object has a file key of its own: no two headers are the same', async () => {
    const writer = new AgeCodec({ recipients: recipients.slice(0, 1) });
    const [one, two] = [await encode(writer, content), await encode(writer, content)];
    expect(one.subarray(0, headerLength(one))).not.toEqual(two.subarray(0, headerLength(two)));
  });
});

describe('post-quantum recipients', () => {
  test('round trip, and say who they are', async () => {
    const codec = new AgeCodec({ recipients: [hybridRecipient] }, { identities: async () => [new Secret(hybrid)] });
    const encoded = await encode(codec, content);
    expect(encoded.toString('latin1')).toContain('-> mlkem768x25519 ');
    expect(await decode(codec, encoded)).toEqual(content);
    expect(await codec.inspect(source(encoded), {})).toMatchObject({ keyIds: [hybridRecipient], readable: true });
    await expect(decode(reader(await generateHybridIdentity(), ...secrets), encoded)).rejects.toMatchObject({
      code: 'CODEC_KEY',
    });
  });

  test('are not mixed with others, which would undo them', async () => {
    const mixed = [hybridRecipient, ...recipients];
    expect(() => new AgeCodec({ recipients: mixed })).toThrow('cannot be mixed');
    await expect(configured({ recipients: mixed })).rejects.toThrow('cannot be mixed');
    writeFileSync(join(folder, 'other.txt'), `${recipients[0]}\n`);
    await expect(configured({ recipients: [hybridRecipient], recipientsFiles: ['other.txt'] })).rejects.toMatchObject({
      code: 'PLUGIN_OPTIONS',
    });
  });
});

describe('recipients in the config', () => {
  test('files of them lie beside the config, with comments and empty lines', async () => {
    writeFileSync(join(folder, 'escrow.txt'), `# escrow\r\n\n  ${recipients[1]}  \n#${recipients[2]}\n`);
    const codec = await configured({ recipients: [recipients[0]], recipientsFiles: ['escrow.txt'] });
    expect(codec.keyIds).toEqual(recipients.slice(0, 2));
    expect(await decode(reader(secrets[1]), await encode(codec, content))).toEqual(content);
  });

  test.each([
    ['is not there', undefined, 'ENOENT'],
    ['is empty', '# nobody\n', 'holds no recipient'],
    ['has an SSH key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA root@db1\n', 'line 1 that is an SSH key'],
    ['has a typing error', `# one\n${at(recipients, 0).replace(/.$/, 'b')}b\n`, 'line 2 that is not an age recipient'],
  ])('a file that %s is PLUGIN_OPTIONS before anything is written', async (_name, text, message) => {
    const file = join(folder, 'recipients.txt');
    if (text === undefined) rmSync(file, { force: true });
    else writeFileSync(file, text);
    const error = await failure(configured({ recipientsFiles: ['recipients.txt'] }));
    expect(error).toMatchObject({ code: 'PLUGIN_OPTIONS', message: expect.stringContaining(message) });
    expect(String(error)).toContain(file);
  });

  test.each([
    ['an SSH key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA', 'SSH key, which is not supported'],
    ['a name', 'operations@example.com', 'not an age recipient'],
    ['one of a plugin', `age1yubikey1${'q'.repeat(60)}`, 'age plugin "yubikey"'],
  ])('%s is refused', async (_name, text, message) => {
    await expect(configured({ recipients: [text] })).rejects.toThrow(message);
    expect(() => new AgeCodec({ recipients: [text] })).toThrow(message);
  });

  test('a secret key in the place of a recipient is refused without being shown', async () => {
    const [secret] = secrets;
    writeFileSync(join(folder, 'recipients.txt'), secret);
    for (const section of [{ recipients: [secret] }, { recipientsFiles: ['recipients.txt'] }]) {
      const error = await failure(configured(section));
      expect(textsOf(error)).toContain('is a secret key');
      expect(textsOf(error).toUpperCase()).not.toContain(secret.slice(20, 40));
    }
  });

  test('more than a hundred are refused', async () => {
    const many = await Promise.all(
      Array.from({ length: 101 }, async () => identityToRecipient(await generateX25519Identity())),
    );
    expect(() => new AgeCodec({ recipients: many })).toThrow('100 recipients are the most');
    const most = new AgeCodec({ recipients: many.slice(0, 100) });
    expect(await reader().inspect(source(await encode(most, content)), {})).toMatchObject({ unknown: 100 });
  });

  test('none at all: reading works, writing is CODEC_KEY', async () => {
    const codec = await configured({});
    expect(codec.keyIds).toEqual([]);
    await expect(encode(codec, content)).rejects.toMatchObject({
      code: 'CODEC_KEY',
      hint: expect.stringContaining('recipients'),
    });
  });
});

describe('a recipient that is no point which a key can have', () => {
  // Made with the check sum of bech32: 32 bytes of zeroes, and a one with zeroes behind it.
  test.each([`age1${'q'.repeat(52)}5cu47z`, 'age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya'])(
    '%s',
    async (low) => {
      const reason = { code: 'PLUGIN_OPTIONS', message: expect.stringContaining(low) };
      await expect(configured({ recipients: [at(recipients, 0), low] })).rejects.toMatchObject(reason);
      await expect(encode(new AgeCodec({ recipients: [low] }), content)).rejects.toMatchObject(reason);
      await expect(encode(new AgeCodec({ recipients: [at(recipients, 0), low] }), content)).rejects.toMatchObject({
        code: 'PLUGIN_OPTIONS',
      });
    },
  );
});

describe('a header', () => {
  test('with several stanzas for one key has no unknown ones', async () => {
    const [one, two] = recipients;
    const { bytes } = await makeHeader([at(recipients, 0), at(recipients, 1), at(recipients, 0)]);
    const use = (...of: readonly string[]) => reader(...of).inspect(source(bytes), {});
    expect(await use(at(secrets, 0))).toEqual({ keyIds: [one], unknown: 1, readable: true });
    expect(await use(at(secrets, 1))).toEqual({ keyIds: [two], unknown: 2, readable: true });
    expect(await use(...secrets)).toEqual({ keyIds: [one, two], unknown: 0, readable: true });
    expect(await use(at(secrets, 2))).toEqual({ keyIds: [], unknown: 3, readable: false });
  });

  test('is damaged when the library cannot read it, and not when something else fails', async () => {
    const { bytes } = await makeHeader([at(recipients, 0)]);
    const failing = (error: Error) =>
      openHeader({ bytes, stanzas: [] }, [{ unwrapFileKey: vi.fn<() => null>().mockThrow(error) }]);
    await expect(failing(new Error('invalid X25519 stanza'))).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
    await expect(failing(new RangeError('Array buffer allocation failed'))).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('Array buffer allocation failed'),
    });
  });

  test('an abort between two keys is ABORTED', async () => {
    const { bytes } = await makeHeader([at(recipients, 0)]);
    const abort = new AbortController();
    const first = { unwrapFileKey: () => (abort.abort(), null) };
    const second = { unwrapFileKey: vi.fn<() => null>(() => null) };
    await expect(openHeader({ bytes, stanzas: [] }, [first, second], abort.signal)).rejects.toMatchObject({
      code: 'ABORTED',
    });
    expect(second.unwrapFileKey).not.toHaveBeenCalled();
  });
});

describe('identities', () => {
  test('are asked for when something is decoded, and once', async () => {
    const identities = vi.fn<() => Promise<readonly Secret[]>>(async () => [new Secret(secrets[0])]);
    const codec = new AgeCodec({ recipients: recipients.slice(0, 1) }, { identities });
    const encoded = await encode(codec, content);
    expect(identities).not.toHaveBeenCalled();
    await Promise.all([decode(codec, encoded), decode(codec, encoded), codec.inspect(source(encoded), {})]);
    await decode(codec, encoded);
    expect(identities).toHaveBeenCalledTimes(1);
  });

  test('that could not be had are asked for again', async () => {
    const identities = vi.fn<() => Promise<readonly Secret[]>>();
    identities.mockRejectedValueOnce(new Error('the vault is sealed'));
    identities.mockResolvedValue([new Secret(secrets[0])]);
    const codec = new AgeCodec({ recipients: recipients.slice(0, 1) }, { identities });
    const encoded = await encode(codec, content);
    await expect(decode(codec, encoded)).rejects.toThrow('the vault is sealed');
    expect(await decode(codec, encoded)).toEqual(content);
  });

  test('may be several in a file, with comments, among keys of another kind', async () => {
    const encoded = await encode(new AgeCodec({ recipients: recipients.slice(2) }), content);
    const file = `# created: today\r\n# public key: ${recipients[0]}\r\n${secrets[0]}\r\n\n  ${secrets[2]}\n`;
    expect(await decode(reader('0123456789abcdef', file), encoded)).toEqual(content);
  });

  test.each([
    ['a key with a typing error', secrets[0].replace(/.$/, 'B'), 'line 2, is not a valid age key'],
    ['a key in lower case', secrets[0].toLowerCase(), 'line 2, is not a valid age key'],
    ['an empty passphrase', 'age-passphrase:', 'holds an empty passphrase'],
    ['a key of a plugin', 'AGE-PLUGIN-YUBIKEY-1QQQQQQQQQQQQ', 'age plugin'],
    ['an SSH key', '-----BEGIN OPENSSH PRIVATE KEY-----', 'SSH or PEM key'],
    ['an encrypted key file', 'age-encryption.org/v1', 'encrypted itself'],
  ])('%s is said by its place, and never shown, when nothing else opens', async (_name, line, message) => {
    const encoded = await encode(new AgeCodec({ recipients: recipients.slice(1, 2) }), content);
    const error = await failure(decode(reader(`# key\n${line}`), encoded));
    expect(error).toMatchObject({ code: 'CODEC_KEY' });
    expect(String(error)).toContain('restore.identities[0], line 2,');
    expect(String(error)).toContain(message);
    expect(textsOf(error).toUpperCase()).not.toContain(line.toUpperCase());
    expect(await decode(reader(`# key\n${line}`, secrets[1]), encoded)).toEqual(content);
  });

  test('H-60 a wrong key is CODEC_KEY, not damage', async () => {
    const encoded = await encode(new AgeCodec({ recipients: recipients.slice(0, 1) }), content);
    const error = await failure(decode(reader(secrets[1]), encoded));
    expect(error).toMatchObject({ code: 'CODEC_KEY', hint: expect.stringContaining('restore.identities') });
  });
});
