import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isArchiveError } from '../../src/contracts/errors.ts';
import { FIRST_FRAGMENT, MessageSplitter } from '../../src/postgres/replication/message-splitter.ts';

function message(type: string, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeInt32BE(payload.length + 4, 1);
  return Buffer.concat([header, payload]);
}

/** What comes out, with the payloads of CopyData put together again. */
function split(chunks: readonly Buffer[]): string[] {
  const found: string[] = [];
  let payload: Buffer[] = [];
  const splitter = new MessageSplitter({
    message: (bytes) => found.push(`${String.fromCharCode(bytes[0] ?? 0)}:${bytes.subarray(5).toString('hex')}`),
    copyData: (fragment, offset, length) => {
      expect(offset).toBe(Buffer.concat(payload).length);
      if (offset === 0) expect(fragment.length).toBeGreaterThanOrEqual(Math.min(length, FIRST_FRAGMENT));
      if (length > 0) expect(fragment.length).toBeGreaterThan(0);
      payload.push(Buffer.from(fragment));
      if (offset + fragment.length < length) return;
      found.push(`d:${Buffer.concat(payload).toString('hex')}`);
      payload = [];
    },
  });
  // Each chunk is wiped after its call, as the buffer of a socket is used again.
  for (const chunk of chunks) {
    const own = Buffer.from(chunk);
    splitter.push(own);
    own.fill(0xee);
  }
  return found;
}

const messages = fc.array(
  fc.record({ type: fc.constantFrom('d', 'd', 'd', 'C', 'Z', 'T', 'c'), payload: fc.uint8Array({ maxLength: 300 }) }),
  { maxLength: 12 },
);

test('messages come out whole and in order, however the bytes are cut', () => {
  fc.assert(
    fc.property(
      messages,
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }),
      (sent, sizes) => {
        const bytes = Buffer.concat(sent.map(({ type, payload }) => message(type, payload)));
        const chunks: Buffer[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        const wanted = sent.map(({ type, payload }) => `${type}:${Buffer.from(payload).toString('hex')}`);
        expect(split(chunks)).toEqual(wanted);
        expect(split([bytes])).toEqual(wanted);
        expect(split(Array.from(bytes, (byte) => Buffer.from([byte])))).toEqual(wanted);
      },
    ),
  );
});

test('a length that no message has is a protocol error', () => {
  for (const length of [3, 0, -1, 0x7fffffff]) {
    const header = Buffer.from('Z....');
    header.writeInt32BE(length, 1);
    expect(() => split([header])).toThrow(expect.toSatisfy((error) => isArchiveError(error, 'STREAM_PROTOCOL')));
    expect(() => split([header.subarray(0, 2), header.subarray(2)])).toThrow(
      expect.toSatisfy((error) => isArchiveError(error, 'STREAM_PROTOCOL')),
    );
  }
});
