import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesToText, hasRawBytes, textToBytes } from '../../src/postgres/lossless-text.ts';

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc
    .array(
      fc.oneof(
        fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
        fc.uint8Array({ maxLength: 3 }),
      ),
    )
    .map((parts) => new Uint8Array(Buffer.concat(parts))),
);

describe('text of bytes', () => {
  test('gives the same bytes back, whatever they are', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(Buffer.from(textToBytes(bytesToText(value)))).toEqual(Buffer.from(value));
      }),
      { numRuns: 2000 },
    );
  });

  test('is the text where the bytes are UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(bytesToText(Buffer.from(text))).toBe(text);
        expect(hasRawBytes(text)).toBe(false);
      }),
    );
  });

  test('marks bytes that are not', () => {
    const text = bytesToText(Buffer.from([0x61, 0xff, 0xc3, 0xa4, 0xc3]));
    expect(text).toBe('a\udcffä\udcc3');
    expect(hasRawBytes(text)).toBe(true);
    // A surrogate that someone encoded as if it were a character is not UTF-8.
    expect(bytesToText(Buffer.from([0xed, 0xb2, 0x80]))).toBe('\udced\udcb2\udc80');
  });
});
