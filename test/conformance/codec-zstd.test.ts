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
});
