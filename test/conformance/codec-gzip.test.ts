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
});
