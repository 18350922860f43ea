import { describeCodec } from '@pgark/sdk/testing';
import { Lz4Codec } from '@pgark/codec-lz4';

describeCodec('lz4', {
  create: () => new Lz4Codec(),
  tool: {
    decode: ['lz4', '-dc'],
    // Blocks of every size, linked and not, with every checksum and without, with a content size, smaller.
    encode: [
      ['lz4', '-c'],
      ['lz4', '-c', '-9', '-B4', '-BI'],
      ['lz4', '-c', '-B4', '-BD'],
      ['lz4', '-c', '-B5', '-BX', '--no-frame-crc'],
      ['lz4', '-c', '-B7', '-BD', '-BX', '-9'],
      ['lz4', '-c', '-B6', '--content-size'],
    ],
  },
  blockSize: 1024 * 1024,
  concatenates: true,
  // The two bits of the version in the descriptor, behind the magic number.
  future: (encoded) => {
    const bytes = Buffer.from(encoded);
    bytes[4] = (bytes[4] ?? 0) ^ 0b1100_0000;
    return bytes;
  },
});
