/** The codec of examples/codec-plugin keeps the contract. */
import { describeCodec, testContext } from '@pgark/sdk/testing';
import plugin from '../../examples/codec-plugin/plugin/src/index.ts';

const python = (call: string): readonly [string, ...string[]] => [
  'python3',
  '-c',
  `import sys, zlib; sys.stdout.buffer.write(zlib.${call}(sys.stdin.buffer.read()))`,
];

describeCodec('zlib', {
  create: () => plugin.create({ level: 1 }, testContext()),
  tool: { decode: python('decompress'), encode: [python('compress')] },
  blockSize: 256 * 1024,
});
