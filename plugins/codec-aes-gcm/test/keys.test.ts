import { isArchiveError, Secret } from '@pgark/sdk';
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { codecOf, decode, encode, entry, KEY, OTHER_KEY, source, writeObject } from './objects.ts';

const text = Buffer.from('a few bytes');

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('H-63 rotation', () => {
  const old = codecOf([entry('2025', KEY)]);
  const rotated = codecOf([entry('2026', OTHER_KEY), entry('2025', KEY)]);

  test('what the old key wrote stays readable, and new objects use the new key', async () => {
    const before = await encode(old, text);
    const after = await encode(rotated, text);
    expect(String(await decode(rotated, before))).toBe(String(text));
    expect(String(await decode(rotated, after))).toBe(String(text));
    expect([old.keyIds, rotated.keyIds]).toEqual([['2025'], ['2026']]);
    expect(await rotated.inspect(source(before), {})).toEqual({ keyIds: ['2025'], unknown: 0, readable: true });
    expect(await rotated.inspect(source(after), {})).toEqual({ keyIds: ['2026'], unknown: 0, readable: true });
    expect(await old.inspect(source(after), {})).toEqual({ keyIds: ['2026'], unknown: 0, readable: false });
  });

  test('a key that was taken away is named, with those at hand', async () => {
    const after = await encode(codecOf([entry('2026', OTHER_KEY)]), text);
    const reader = codecOf([entry('2025', KEY), entry('2024', randomBytes(32))]);
    expect(await failureOf(decode(reader, after))).toMatchObject({
      code: 'CODEC_KEY',
      message: 'written with the key "2026", which is not at hand; at hand: 2025, 2024',
      hint: expect.stringContaining('Add the key "2026"') as string,
      details: { keyId: '2026', atHand: ['2025', '2024'] },
    });
    // The id says which key it is, also where another one has the right bytes.
    const renamed = codecOf([entry('renamed', OTHER_KEY)]);
    expect(await failureOf(decode(renamed, after))).toMatchObject({ code: 'CODEC_KEY', details: { keyId: '2026' } });
  });

  test('H-60 another key of the same id is told from damage, and read when it is at hand too', async () => {
    const object = await encode(codecOf([entry('k', OTHER_KEY)]), text);
    const failure = await failureOf(decode(codecOf(), object));
    expect(failure).toMatchObject({
      code: 'CODEC_KEY',
      message: 'written with another key "k" than the one at hand',
      hint: expect.stringContaining('It is not damaged') as string,
    });
    expect(await codecOf().inspect(source(object), {})).toEqual({ keyIds: ['k'], unknown: 0, readable: false });
    const identities = async (): Promise<Secret[]> => [new Secret(`aes-gcm:k:${OTHER_KEY.toString('hex')}`)];
    expect(String(await decode(codecOf(undefined, { identities }), object))).toBe(String(text));
  });
});

describe('keys of restore.identities', () => {
  const object = writeObject({ id: '2025', key: OTHER_KEY, chunks: [{ content: text, last: true }] });
  const withTexts = (...texts: string[]) =>
    codecOf(undefined, { identities: async () => texts.map((each) => new Secret(each)) });

  test('stand in lines beside keys of other codecs', async () => {
    const line = `aes-gcm:2025:${OTHER_KEY.toString('base64')}`;
    const file = `# keys\nAGE-SECRET-KEY-1XXXX\n\n  ${line}\r\n`;
    for (const codec of [withTexts(line), withTexts('AGE-SECRET-KEY-1', file)]) {
      expect(String(await decode(codec, ...object))).toBe(String(text));
      expect(codec.keyIds).toEqual(['k']);
    }
  });

  test('a line that is no key is named by its place, and what fails to come is tried again', async () => {
    const failure = await failureOf(decode(withTexts(`\naes-gcm:2025:hunter2`, 'aes-gcm:2025'), ...object));
    expect(failure).toMatchObject({
      code: 'CODEC_KEY',
      message:
        'written with the key "2025", which is not at hand; at hand: k (restore.identities[0], line 2, is not of the form ' +
        'aes-gcm:<id>:<key>; restore.identities[1], line 1, is not of the form aes-gcm:<id>:<key>)',
    });
    let calls = 0;
    const codec = codecOf(undefined, {
      identities: () => {
        calls += 1;
        if (calls === 1) return Promise.reject(new Error('not mounted yet'));
        return Promise.resolve([new Secret(`aes-gcm:2025:${OTHER_KEY.toString('hex')}`)]);
      },
    });
    expect(String(await failureOf(decode(codec, ...object)))).toContain('not mounted yet');
    for (let round = 0; round < 2; round++) expect(String(await decode(codec, ...object))).toBe(String(text));
    expect(calls).toBe(2);
  });

  test('without any key, writing is CODEC_KEY', async () => {
    expect(await failureOf(encode(codecOf([]), text))).toMatchObject({
      code: 'CODEC_KEY',
      message: 'the codec aes-gcm has no key to write with',
    });
    expect(await failureOf(decode(codecOf([]), ...object))).toMatchObject({
      message: 'written with the key "2025", which is not at hand; at hand: no key is',
    });
  });
});

test('H-64 neither the codec nor an error shows a key', async () => {
  const secrets = [KEY.toString('base64'), KEY.toString('hex'), OTHER_KEY.toString('hex')];
  const identities = async (): Promise<Secret[]> => [new Secret(`aes-gcm:old:${OTHER_KEY.toString('hex')}`)];
  const codec = codecOf([entry('k', KEY)], { identities });
  const failures = [
    await failureOf(decode(codec, ...writeObject({ id: 'gone', chunks: [] }))),
    await failureOf(decode(codec, ...writeObject({ id: 'k', key: randomBytes(32), chunks: [] }))),
    await failureOf(decode(codec, ...writeObject({ chunks: [] }))),
  ];
  expect(failures.map((failure) => isArchiveError(failure))).toEqual([true, true, true]);
  for (const shown of [codec, ...failures]) {
    const all = inspect(shown, { depth: 9, showHidden: true }) + JSON.stringify(shown) + String(shown);
    for (const secret of secrets) expect(all.replaceAll(/\s/g, '')).not.toContain(secret);
  }
});
