import { randomBytes } from 'node:crypto';
import { AgeCodec } from '@pgark/codec-age';
import { ByteReader, releaseChunk, Secret } from '@pgark/sdk';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { describe, expect, test } from 'vitest';
import { runInThread } from '../src/chunk-threads.ts';
import { BLOCK_CHUNKS, SEALED, sealBlock } from '../src/chunks.ts';
import { openPayload, sealPayload } from '../src/payload.ts';
import { at, decode, encode, headerLength, joined, source } from './streams.ts';

const MIB = 1024 * 1024;
const secret = await generateX25519Identity();
const codec = new AgeCodec(
  { recipients: [await identityToRecipient(secret)] },
  { identities: async () => [new Secret(secret)] },
);

/** The sealed chunks of a file, behind its header and nonce. */
function chunksOf(file: Buffer): { head: Buffer; chunks: Buffer[] } {
  const start = headerLength(file) + 16;
  const chunks: Buffer[] = [];
  for (let from = start; from < file.byteLength; from += SEALED) chunks.push(file.subarray(from, from + SEALED));
  return { head: file.subarray(0, start), chunks };
}

// The first 16 MiB are sealed in place, what follows in threads: 20 MiB and a rest have both.
describe('H-60 a payload whose chunks are not those that were sealed, in their order', async () => {
  const content = randomBytes(20 * MIB + 12_345);
  const { head, chunks } = chunksOf(await encode(codec, content));
  const last = chunks.length - 1;

  test('is there to begin with', async () => {
    expect(chunks).toHaveLength(321);
    expect((await decode(codec, head, ...chunks)).equals(content)).toBe(true);
  });

  test.each([
    ['cut behind a chunk', chunks.slice(0, 7), 'ends after chunk 6, before its last'],
    ['cut behind a block', chunks.slice(0, 64), 'ends after chunk 63, before its last'],
    ['cut behind a chunk of a thread', chunks.slice(0, 300), 'ends after chunk 299, before its last'],
    ['without its last chunk', chunks.slice(0, last), 'ends after chunk 319, before its last'],
    ['cut before its first chunk', [], 'ends before its last chunk'],
    ['with its last chunk twice', [...chunks, at(chunks, last)], 'damaged'],
    ['with a byte behind it', [...chunks, Buffer.alloc(1)], 'damaged'],
    ['with another file behind it', [...chunks, head, ...chunks], 'damaged'],
    ['with two chunks swapped', chunks.with(3, at(chunks, 4)).with(4, at(chunks, 3)), 'chunk 3 '],
    ['with two chunks swapped in a thread', chunks.with(290, at(chunks, 291)).with(291, at(chunks, 290)), 'chunk 290 '],
    ['with a chunk twice', chunks.toSpliced(5, 0, at(chunks, 5)), 'chunk 6 '],
    ['without a chunk', chunks.toSpliced(280, 1), 'chunk 280 '],
    ['without its first chunk', chunks.slice(1), 'chunk 0 '],
    ['with a bit changed in a thread', chunks.with(310, Buffer.from(at(chunks, 310)).fill(0, 9, 17)), 'chunk 310 '],
  ])('%s is CODEC_CORRUPT, and nothing is given out from there on', async (_name, damaged, message) => {
    const given: Uint8Array[] = [];
    const reading = async (): Promise<void> => {
      for await (const chunk of codec.decode(source(head, ...damaged), { concurrency: 3 })) given.push(chunk);
    };
    await expect(reading()).rejects.toMatchObject({
      code: 'CODEC_CORRUPT',
      message: expect.stringContaining(message),
    });
    const bytes = Buffer.concat(given);
    expect(bytes.equals(content.subarray(0, bytes.byteLength))).toBe(true);
    expect(bytes.byteLength).toBeLessThanOrEqual(Math.max(0, damaged.length - 1) * 64 * 1024);
  });

  test('chunks of another file of the same key do not fit', async () => {
    const other = chunksOf(await encode(codec, content));
    await expect(decode(codec, head, ...chunks.with(1, at(other.chunks, 1)))).rejects.toThrow('chunk 1 ');
    await expect(decode(codec, head, ...other.chunks)).rejects.toThrow('chunk 0 ');
  });

  test('released memory is used again, and nothing that is still held is changed', async () => {
    const held: Uint8Array[] = [];
    let read = 0;
    for await (const chunk of codec.decode(source(head, ...chunks), { concurrency: 2 })) {
      expect(content.subarray(read, (read += chunk.byteLength)).equals(chunk)).toBe(true);
      if (held.length < 3) held.push(chunk);
      else releaseChunk(chunk);
    }
    const bytes = Buffer.concat(held);
    expect(bytes.byteLength).toBe(3 * MIB);
    expect(bytes.equals(content.subarray(0, bytes.byteLength))).toBe(true);
  });
});

describe('the last chunk', () => {
  const key = randomBytes(32);
  const open = (bytes: Uint8Array): Promise<Buffer> =>
    joined(openPayload(new ByteReader(source(bytes)), { key, concurrency: 1, what: 'test' }));

  test('may be full', async () => {
    const content = randomBytes(2 * 64 * 1024);
    const sealed = await joined(sealPayload(new ByteReader(source(content)), { key, concurrency: 1, what: 'test' }));
    expect(sealed.byteLength).toBe(content.byteLength + 32);
    expect((await open(sealed)).equals(content)).toBe(true);
  });

  test('is empty for empty content only', async () => {
    const memory = (): Buffer => Buffer.alloc(BLOCK_CHUNKS * SEALED);
    const [full, empty, alone] = [memory(), memory(), memory()];
    sealBlock({ memory: full, length: 64 * 1024, first: 0, last: false }, key);
    sealBlock({ memory: empty, length: 0, first: 1, last: true }, key);
    sealBlock({ memory: alone, length: 0, first: 0, last: true }, key);
    expect(await open(alone.subarray(0, 16))).toHaveLength(0);
    await expect(open(Buffer.concat([full.subarray(0, SEALED), empty.subarray(0, 16)]))).rejects.toMatchObject({
      code: 'CODEC_CORRUPT',
      message: 'the last chunk of the age payload is empty',
    });
  });

  test('is said to be missing when the file goes on behind one that is marked as the last', async () => {
    const memory = Buffer.alloc(BLOCK_CHUNKS * SEALED);
    sealBlock({ memory, length: 64 * 1024, first: 0, last: true }, key);
    await expect(open(Buffer.concat([memory.subarray(0, SEALED), Buffer.alloc(500)]))).rejects.toThrow(
      'goes on after chunk 0, its last',
    );
  });
});

describe('while threads work', () => {
  /** A source without end, that knows whether it was ended. */
  function endless(): { readonly chunks: AsyncGenerator<Uint8Array>; readonly ended: () => boolean } {
    let ended = false;
    const chunk = randomBytes(MIB);
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield chunk;
      } finally {
        ended = true;
      }
    };
    return { chunks: chunks(), ended: () => ended };
  }

  test('an abort is ABORTED, and ends the source', async () => {
    const { chunks, ended } = endless();
    const abort = new AbortController();
    let given = 0;
    const encoding = async (): Promise<void> => {
      for await (const chunk of codec.encode(chunks, { concurrency: 2, signal: abort.signal }))
        if ((given += chunk.byteLength) > 20 * MIB) abort.abort();
    };
    await expect(encoding()).rejects.toMatchObject({ code: 'ABORTED' });
    expect(given).toBeGreaterThan(20 * MIB);
    expect(ended()).toBe(true);
  });

  test('an abort does not wait for a source that does not end', async () => {
    let told = 0;
    const chunks = (first: Uint8Array): AsyncIterable<Uint8Array> => ({
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: first }),
        return: () => (told++, new Promise(() => undefined)),
      }),
    });
    const sealed = await encode(codec, randomBytes(2 * MIB));
    for (const direction of ['encode', 'decode'] as const) {
      const abort = new AbortController();
      const context = { concurrency: 1, signal: abort.signal };
      // What was encoded gives its header before it asks for content: then nobody waits for the source.
      const stream = codec[direction](chunks(sealed), context)[Symbol.asyncIterator]();
      expect(await stream.next()).toMatchObject({ done: false });
      abort.abort();
      await expect(stream.next()).rejects.toMatchObject({ code: 'ABORTED' });
    }
    expect(told).toBe(2);
  });

  test('leaving ends the source, and other streams go on', async () => {
    const { chunks, ended } = endless();
    const content = randomBytes(24 * MIB);
    const other = encode(codec, content);
    let given = 0;
    for await (const chunk of codec.encode(chunks, { concurrency: 2 }))
      if ((given += chunk.byteLength) > 20 * MIB) break;
    expect(ended()).toBe(true);
    expect((await decode(codec, await other)).equals(content)).toBe(true);
  });
});

describe('a thread that ends', () => {
  test('fails what it worked on, and the next call gets another', async () => {
    const block = () => ({ memory: Buffer.allocUnsafeSlow(BLOCK_CHUNKS * SEALED), length: 100, first: 0, last: true });
    const broken = runInThread({ direction: 'seal', block: block(), key: new Uint8Array(31) });
    await expect(broken).rejects.toMatchObject({ code: 'INTERNAL' });
    const { result } = await runInThread({ direction: 'seal', block: block(), key: randomBytes(32) });
    expect(result).toEqual({ length: 116 });
  });
});

describe('what is no age file', () => {
  test.each([
    ['an armored one', Buffer.from('-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n'), 'armored'],
    ['one of version 2', Buffer.from('age-encryption.org/v2\n-> X25519 a\n'), 'another version'],
    ['a line end of DOS', Buffer.from('age-encryption.org/v1\r\n'), 'not an age file'],
    ['nothing', Buffer.alloc(0), 'not an age file'],
  ])('%s is CODEC_CORRUPT and says so', async (_name, bytes, message) => {
    const reason = { code: 'CODEC_CORRUPT', message: expect.stringContaining(message) };
    await expect(decode(codec, bytes)).rejects.toMatchObject(reason);
    await expect(codec.inspect(source(bytes), {})).rejects.toMatchObject(reason);
  });

  test.each([
    ['one line', Buffer.alloc(MIB, 'x'), 'more than 262144 bytes'],
    ['one body', Buffer.from(`-> x\n${`${'A'.repeat(64)}\n`.repeat(20_000)}`), 'more than 262144 bytes'],
    ['stanzas', Buffer.from('-> X25519 abc\n\n'.repeat(100_000)), 'more than 110 stanzas'],
    ['empty lines', Buffer.alloc(MIB, '\n'), 'neither a stanza nor the end'],
    ['long lines of a body', Buffer.from(`-> x\n${'A'.repeat(65)}\n`.repeat(20_000)), 'a line is too long'],
  ])('a header without end, of %s, is read up to 256 KiB and no further', async (_name, piece, message) => {
    let read = 0;
    let ended = false;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      try {
        yield Buffer.from('age-encryption.org/v1\n');
        for (; ; read += piece.byteLength) yield piece;
      } finally {
        ended = true;
      }
    };
    const reason = { code: 'CODEC_CORRUPT', message: expect.stringContaining(message) };
    await expect(joined(codec.decode(endless(), { concurrency: 1 }))).rejects.toMatchObject(reason);
    await expect(codec.inspect(endless(), {})).rejects.toMatchObject(reason);
    expect(read).toBeLessThanOrEqual(2 * MIB);
    expect(ended).toBe(true);
  });
});

test('every byte of the header, changed, is an error', async () => {
  const file = await encode(codec, Buffer.from('content'));
  const length = headerLength(file);
  expect(length).toBeGreaterThan(150);
  const codes = new Set<string>();
  for (let index = 0; index < length; index++) {
    for (const change of [0x01, 0x20, 0x80]) {
      const damaged = Buffer.from(file);
      damaged.writeUInt8(damaged.readUInt8(index) ^ change, index);
      const error = await decode(codec, damaged).then(
        () => expect.unreachable(`byte ${index} changed by ${change} was not found`),
        (thrown: unknown) => thrown as { code: string },
      );
      codes.add(error.code);
    }
  }
  // Damage in what is wrapped for a recipient looks like another recipient.
  expect([...codes].toSorted()).toEqual(['CODEC_CORRUPT', 'CODEC_KEY']);
});
