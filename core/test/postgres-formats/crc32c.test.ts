import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c, CRC32C_START, finishCrc32c, updateCrc32c } from '../../src/postgres/crc32c.ts';

function bitByBit(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
  }
  return ~crc >>> 0;
}

describe('crc32c', () => {
  // RFC 3720, appendix B.4, and the check value of the algorithm.
  test.each([
    [Buffer.from('123456789'), 0xe3069283],
    [Buffer.alloc(0), 0],
    [Buffer.alloc(32), 0x8a9136aa],
    [Buffer.alloc(32, 0xff), 0x62a8ab43],
    [Buffer.from(Array.from({ length: 32 }, (_, at) => at)), 0x46dd794e],
  ])('of %o', (bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });

  test('is that of the definition, in one piece or in two', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, border) => {
        const expected = bitByBit(bytes);
        expect(crc32c(bytes)).toBe(expected);
        const at = Math.min(border, bytes.byteLength);
        expect(finishCrc32c(updateCrc32c(updateCrc32c(CRC32C_START, bytes, 0, at), bytes, at))).toBe(expected);
      }),
    );
  });
});
