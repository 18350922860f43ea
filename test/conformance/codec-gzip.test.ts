import { describeCodec } from '@pgark/sdk/testing';
import { GzipCodec } from '@pgark/codec-gzip';

describeCodec('gzip', {
  create: () => new GzipCodec({ level: 1 }),
  tool: {
    decode: ['gzip', '-dc'],
    encode: [
      ['gzip', '-c'],
      ['gzip', '-c', '-9', '--rsyncable'],
    ],
  },
  blockSize: 1024 * 1024,
  concatenates: true,
  // The reserved bits of the flags (RFC 1952, 2.3.1.2): one that is set says that there is more than this version knows.
  future: (encoded) => {
    const later = Buffer.from(encoded);
    later[3] = (later[3] ?? 0) | 0x80;
    return later;
  },
});
