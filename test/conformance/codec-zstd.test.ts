import { describeCodec } from '@pgark/sdk/testing';
import { ZstdCodec } from '@pgark/codec-zstd';

describeCodec('zstd', {
  create: () => new ZstdCodec({ level: 1 }),
  tool: {
    decode: ['zstd', '-dc'],
    // Content size and checksum or not, one huge frame, a large window, several threads.
    encode: [
      ['zstd', '-c'],
      ['zstd', '-c', '--no-check', '-19', '--long=27'],
      ['zstd', '-c', '-T2', '-B1MiB', '--adapt'],
    ],
  },
  blockSize: 1024 * 1024,
  concatenates: true,
  // The reserved bit of the frame header's descriptor, behind the magic number (RFC 8878, 3.1.1.1.1.4).
  future: (encoded) => {
    const later = Buffer.from(encoded);
    later[4] = (later[4] ?? 0) | 0x08;
    return later;
  },
});
