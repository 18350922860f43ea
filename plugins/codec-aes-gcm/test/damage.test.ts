import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { chunkNonce } from '../src/chunks.ts';
import { CHUNK, codecOf, decode, encode, entry, KEY, SEALED, withCheck, writeObject } from './objects.ts';

const codec = codecOf();
const content = randomBytes(3 * CHUNK + 1000);
const [first, second, third, rest] = [0, 1, 2, 3].map((at) => content.subarray(at * CHUNK, (at + 1) * CHUNK)) as [
  Buffer,
  Buffer,
  Buffer,
  Buffer,
];

/** Header and chunks of an object, as the codec wrote it. */
async function written(bytes: Uint8Array = content): Promise<Buffer[]> {
  const object = await encode(codec, bytes);
  const header = 58 + 1;
  const parts = [object.subarray(0, header)];
  for (let at = header; at < object.byteLength; at += SEALED) parts.push(object.subarray(at, at + SEALED));
  return parts;
}

function order(parts: readonly Buffer[], ...places: readonly number[]): Buffer {
  return Buffer.concat(places.map((place) => parts[place] ?? Buffer.alloc(0)));
}

async function refused(object: Uint8Array, message: string): Promise<void> {
  for (const stream of [[object], [object.subarray(0, 70), object.subarray(70)]]) {
    await expect(decode(codec, ...stream)).rejects.toMatchObject({ code: 'CODEC_CORRUPT', message });
  }
}

test('the writer of these tests and the codec agree', async () => {
  const chunks = [first, second, third].map((each) => ({ content: each, last: false }));
  const parts = writeObject({ chunks: [...chunks, { content: rest, last: true }] });
  expect((await decode(codec, ...parts)).equals(content)).toBe(true);
  expect((await written()).map(({ byteLength }) => byteLength)).toEqual(parts.map(({ byteLength }) => byteLength));
});

describe('H-60 chunks out of their place', () => {
  const altered = (at: number): string => `chunk ${at} of the aes-gcm stream is altered or out of its place`;

  test('swapped, doubled, left out', async () => {
    const parts = await written();
    expect((await decode(codec, order(parts, 0, 1, 2, 3, 4))).equals(content)).toBe(true);
    await refused(order(parts, 0, 2, 1, 3, 4), altered(0));
    await refused(order(parts, 0, 1, 3, 2, 4), altered(1));
    await refused(order(parts, 0, 1, 2, 2, 3, 4), altered(2));
    await refused(order(parts, 0, 1, 3, 4), altered(1));
    await refused(order(parts, 0, 2, 3, 4), altered(0));
    await refused(order(parts, 0, 1, 2, 4), 'chunk 2 of the aes-gcm stream is cut short, altered or out of its place');
  });

  test('cut at a border, and continued behind the end', async () => {
    const parts = await written();
    const cutShort = (at: number): string => `the aes-gcm stream is cut short: it ends before chunk ${at}`;
    await refused(order(parts, 0), cutShort(0));
    await refused(order(parts, 0, 1), cutShort(1));
    await refused(order(parts, 0, 1, 2, 3), cutShort(3));
    const full = await written(content.subarray(0, 2 * CHUNK));
    expect(full).toHaveLength(3);
    await refused(order([...full, Buffer.alloc(1)], 0, 1, 2, 3), 'the aes-gcm stream goes on behind its last chunk, 1');
    await refused(order(full, 0, 1, 2, 2), 'the aes-gcm stream goes on behind its last chunk, 1');
    await refused(order(full, 0, 1, 2, 0, 1, 2), 'the aes-gcm stream goes on behind its last chunk, 1');
  });

  test('of another object that was written with the same key, with the same content', async () => {
    const [one, other] = [await written(), await written()];
    for (const place of [1, 2, 3, 4]) {
      const mixed = one.map((part, at) => (at === place ? (other[at] ?? part) : part));
      await expect(decode(codec, ...mixed)).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
    }
    await refused(Buffer.concat([other[0] ?? first, ...one.slice(1)]), altered(0));
  });
});

describe('H-60 what a writer of the format must not write', () => {
  test('an empty chunk at the end of content', async () => {
    const nothing = { content: Buffer.alloc(0), last: true };
    expect((await decode(codec, ...writeObject({ chunks: [nothing] }))).byteLength).toBe(0);
    const object = writeObject({ chunks: [{ content: first, last: false }, nothing] });
    await refused(Buffer.concat(object), 'the aes-gcm stream ends with an empty chunk, which none does');
  });

  test('no mark at the end, a mark before it, a short chunk before it, a counter that is not the place', async () => {
    const object = (...chunks: Parameters<typeof writeObject>[0]['chunks']): Buffer =>
      Buffer.concat(writeObject({ chunks }));
    await refused(
      object({ content: first, last: false }, { content: rest, last: false }),
      'the aes-gcm stream is cut short: it ends before chunk 2',
    );
    await refused(
      object({ content: first, last: true }, { content: rest, last: true }),
      'the aes-gcm stream goes on behind its last chunk, 0',
    );
    await refused(
      object({ content: rest, last: false }, { content: rest, last: true }),
      'chunk 0 of the aes-gcm stream is cut short, altered or out of its place',
    );
    await refused(
      object({ content: first, last: false }, { content: rest, last: true, counter: 2 }),
      'chunk 1 of the aes-gcm stream is cut short, altered or out of its place',
    );
  });

  test('more chunks than the counter may count', () => {
    expect(chunkNonce({ index: 2 ** 32 - 1, last: true }).toString('hex')).toBe('00000000000000ffffffff01');
    expect(chunkNonce({ index: 258, last: false }).toString('hex')).toBe('000000000000000000010200');
    expect(() => chunkNonce({ index: 2 ** 32, last: true })).toThrow('at most 4294967296 chunks');
  });
});

describe('the header', () => {
  const damaged = 'the header of the aes-gcm stream is damaged';
  const short = { content: rest, last: true };

  test('with any one bit flipped is CODEC_CORRUPT, and never takes damage for a key', async () => {
    const object = Buffer.concat(writeObject({ id: 'a-key', chunks: [short] }));
    const reader = codecOf([entry('a-key', KEY)]);
    for (let bit = 0; bit < (58 + 5) * 8; bit++) {
      const flipped = Buffer.from(object);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      await expect(decode(reader, flipped), `bit ${bit}`).rejects.toMatchObject({ code: 'CODEC_CORRUPT' });
    }
  });

  test('changed so that its check is right opens no chunk', async () => {
    const [header = first, chunk = first] = writeObject({ id: 'k', chunks: [short] });
    // The same object key under the name of another key: the wrapping says nothing of the id, the payload key does.
    const other = Buffer.from(header.subarray(0, -8));
    other[10] = 'l'.charCodeAt(0);
    const sameBytes = codecOf([entry('l', KEY)]);
    expect(withCheck(header.subarray(0, -8)).equals(header)).toBe(true);
    await expect(decode(sameBytes, withCheck(other), chunk)).rejects.toMatchObject({
      code: 'CODEC_CORRUPT',
      message: 'chunk 0 of the aes-gcm stream is cut short, altered or out of its place',
    });
  });

  test('of an id that is none is refused before it is printed', async () => {
    const [header = first, chunk = first] = writeObject({ id: 'a\x1b[2J', chunks: [short] });
    await refused(Buffer.concat([header, chunk]), damaged);
    await refused(Buffer.concat(writeObject({ id: '', chunks: [short] })), damaged);
    await refused(Buffer.concat(writeObject({ id: 'x'.repeat(65), chunks: [short] })), damaged);
  });

  test('of a later version says so, and what to do', async () => {
    for (const version of [0, 2, 255]) {
      const object = Buffer.concat(writeObject({ version, chunks: [short] }));
      const failure = { code: 'CODEC_CORRUPT', hint: expect.stringContaining('Upgrade pgark') as string };
      const message = `the aes-gcm stream is of version ${version} of the format, this codec reads version 1`;
      await expect(decode(codec, object)).rejects.toMatchObject({ ...failure, message });
      await expect(decode(codec, object.subarray(0, 9))).rejects.toMatchObject({ message });
    }
  });

  test('that is cut short, and what begins otherwise', async () => {
    const [header = first] = writeObject({ chunks: [short] });
    for (const length of [0, 1, 8, 9, 10, 58]) {
      await refused(header.subarray(0, length), 'the aes-gcm stream ends within its header');
    }
    await refused(Buffer.from('pgark'), 'the aes-gcm stream ends within its header');
    await refused(Buffer.from('age-encryption.org/v1\n'), 'the stream does not begin as one of the codec aes-gcm');
  });
});
