/** The codec of examples/codec-plugin keeps the contract. */
import { describeCodec } from '@pgark/sdk/testing';
import plugin from '../../examples/codec-plugin/plugin/src/index.ts';
import { silentLogger } from '../support/silent-logger.ts';

const python = (call: string): readonly [string, ...string[]] => [
  'python3',
  '-c',
  `import sys, zlib; sys.stdout.buffer.write(zlib.${call}(sys.stdin.buffer.read()))`,
];

describeCodec('zlib', {
  create: () => plugin.create({ level: 1 }, { directory: '/', logger: silentLogger }),
  tool: { decode: python('decompress'), encode: [python('compress')] },
  blockSize: 256 * 1024,
});
