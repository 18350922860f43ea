import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as crypto from 'node:crypto';
import agePlugin, { AgeCodec } from '@pgark/codec-age';
import { Secret } from '@pgark/sdk';
import { Stanza } from 'age-encryption';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { Passphrase } from '../src/passphrase.ts';
import { at, decode, encode, headerLength, joined, source, textsOf } from './streams.ts';

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

  test('one at a time, of whatever codec and passphrase, since each takes the memory of its work factor', async () => {
    const files = await Promise.all(
      Array.from({ length: 4 }, () => encode(new AgeCodec({ passphrase, workFactor }), content)),
    );
    let running = 0;
    let most = 0;
    const { scrypt } = await vi.importActual<typeof crypto>('node:crypto');
    scrypts.mockClear();
    scrypts.mockImplementation((...call: Parameters<typeof crypto.scrypt>) => {
      most = Math.max(most, ++running);
      const done = call[4];
      scrypt(call[0], call[1], call[2], call[3], (error, key) => {
        running--;
        done(error, key);
      });
    });
    const others = async (): Promise<Secret[]> => [new Secret('age-passphrase:one\nage-passphrase:two')];
    await Promise.all([
      ...files.map((file) => decode(new AgeCodec({ passphrase }), file)),
      ...files.map((file) => new AgeCodec({}, { identities: others }).inspect(source(file), {})),
      encode(new AgeCodec({ passphrase, workFactor }), content),
    ]);
    expect(scrypts.mock.calls.length).toBe(4 + 2 * 4 + 1);
    expect(most).toBe(1);
    scrypts.mockImplementation(scrypt);
  });

  test('a failure of it is not kept, and is not taken for damage', async () => {
    const codec = new AgeCodec({ passphrase, workFactor });
    const file = await encode(new AgeCodec({ passphrase, workFactor }), content);
    const failures: (typeof crypto.scrypt)[] = [
      // In a thread, and before there is one: that is how the lack of memory shows itself.
      ((...call: Parameters<typeof crypto.scrypt>) =>
        call[4](new Error('malloc failure'), Buffer.alloc(0))) as typeof crypto.scrypt,
      () => {
        throw new Error('malloc failure');
      },
    ];
    for (const failure of failures) {
      for (const attempt of [
        () => encode(codec, content),
        () => decode(codec, file),
        () => codec.inspect(source(file), {}),
      ]) {
        scrypts.mockImplementationOnce(failure);
        await expect(attempt()).rejects.toMatchObject({
          code: 'CODEC_KEY',
          message: expect.stringMatching(/1 MiB of memory for the work factor 8.*malloc failure/),
        });
      }
    }
    expect(await decode(codec, file)).toEqual(content);
    expect(await decode(codec, await encode(codec, content))).toEqual(content);
  });
});

describe('an abort while scrypt runs', () => {
  const aborted = { status: 'rejected', reason: { code: 'ABORTED' } };

  /** Lets the next call of scrypt begin, and not end before it is let go. */
  function holdScrypt(): { readonly begun: Promise<void>; readonly letGo: () => void } {
    let begin = (): void => undefined;
    let letGo = (): void => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const held = new Promise<void>((resolve) => (letGo = resolve));
    scrypts.mockImplementationOnce((...call: Parameters<typeof crypto.scrypt>) => {
      begin();
      void held.then(() => crypto.scrypt(...call));
    });
    return { begun, letGo };
  }

  test('is answered at once: by who runs it, and by who waits', async () => {
    const file = await encode(new AgeCodec({ passphrase, workFactor }), content);
    const { begun, letGo } = holdScrypt();
    const abort = new AbortController();
    const reader = new AgeCodec({ passphrase, workFactor });
    const context = { concurrency: 1, signal: abort.signal };
    const running = joined(reader.decode(source(file), context));
    await begun;
    const waiting = [
      joined(new AgeCodec({}, { identities }).decode(source(file), context)),
      joined(reader.encode(source(content), context)),
      reader.inspect(source(file), context),
    ];
    abort.abort();
    expect(await Promise.allSettled([running, ...waiting])).toMatchObject(Array.from({ length: 4 }, () => aborted));
    letGo();
    expect(await decode(reader, file)).toEqual(content);
    expect(await decode(reader, await encode(reader, content))).toEqual(content);
  });

  test('is answered while identities are asked for', async () => {
    const file = await encode(new AgeCodec({ passphrase, workFactor }), content);
    const asked = vi.fn<() => Promise<readonly Secret[]>>(() => new Promise(() => undefined));
    const abort = new AbortController();
    const reader = new AgeCodec({}, { identities: asked });
    const context = { concurrency: 1, signal: abort.signal };
    const calls = [joined(reader.decode(source(file), context)), reader.inspect(source(file), context)];
    await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(1), { timeout: 30_000 });
    abort.abort();
    expect(await Promise.allSettled(calls)).toMatchObject([aborted, aborted]);
  });

  test('skips what nobody waits for any more, and nothing that somebody waits for', async () => {
    const stanza = (): Stanza[] => {
      const salt = crypto.randomBytes(16).toString('base64').slice(0, 22);
      return [new Stanza(['scrypt', salt, String(workFactor)], new Uint8Array(32))];
    };
    const { begun, letGo } = holdScrypt();
    const asks = new Passphrase(passphrase);
    const first = asks.identity().unwrapFileKey(stanza());
    await begun;
    scrypts.mockClear();
    const [gone, half] = [stanza(), stanza()];
    const abort = new AbortController();
    const left = [gone, gone, half].map(async (one) => asks.identity(abort.signal).unwrapFileKey(one));
    const stays = asks.identity().unwrapFileKey(half);
    abort.abort();
    expect(await Promise.allSettled(left)).toMatchObject([aborted, aborted, aborted]);
    expect(scrypts).not.toHaveBeenCalled();
    letGo();
    // Not the right passphrase, but it was tried.
    expect([await first, await stays]).toEqual([null, null]);
    // That which was held, and that which somebody waited for.
    expect(scrypts).toHaveBeenCalledTimes(2);
    expect(await asks.identity().unwrapFileKey(gone)).toBeNull();
    expect(scrypts).toHaveBeenCalledTimes(3);
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
    ['a work factor of many digits', stanza.replace(' 18\n', ' 99999999999999999999\n'), 'damaged'],
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

test.each([21, 22, 30])('a work factor of %i is not tried, and is not taken for damage', async (work) => {
  const codec = new AgeCodec({ passphrase, workFactor });
  const file = await encode(codec, content);
  const raised = Buffer.from(file.toString('latin1').replace(` ${workFactor}\n`, ` ${work}\n`), 'latin1');
  expect(raised).not.toEqual(file);
  scrypts.mockClear();
  const reason = {
    code: 'CODEC_KEY',
    message: expect.stringContaining(`work factor of ${work}; more than 20 (1024 MiB of memory) is not tried`),
  };
  for (const reader of [codec, new AgeCodec({}, { identities })]) {
    await expect(decode(reader, raised)).rejects.toMatchObject(reason);
    await expect(reader.inspect(source(raised), {})).rejects.toMatchObject(reason);
  }
  expect(scrypts).not.toHaveBeenCalled();
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
    for (const factor of [0, 21, 1.5])
      expect(() => new AgeCodec({ passphrase, workFactor: factor })).toThrow('from 1 to 20');
  });

  test.each([' pw', 'pw ', '\tpw', 'p\nw', 'p\rw', ' '])(
    'one that restore.identities could not hold is refused: %j',
    async (text) => {
      expect(await validate({ passphrase: new Secret(text) })).toContain('restore.identities could not hold it');
      const make = (): AgeCodec => new AgeCodec({ passphrase: new Secret(text), workFactor });
      expect(make).toThrow(expect.objectContaining({ code: 'PLUGIN_OPTIONS' }));
    },
  );

  test('one with spaces inside is read again from restore.identities', async () => {
    const file = await encode(new AgeCodec({ passphrase: new Secret('a  b c'), workFactor }), content);
    const reader = new AgeCodec({}, { identities: async () => [new Secret('  age-passphrase: a  b c  \r\n')] });
    expect(await decode(reader, file)).toEqual(content);
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
