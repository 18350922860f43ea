import { describeCodec } from '@pgark/sdk/testing';
import { __Name__Codec } from '../src/index.ts';

/** zlib by another program than Node: an archive must outlive the tool that wrote it. */
const python = (call: string): [string, ...string[]] => [
  'python3',
  '-c',
  `import sys, zlib; sys.stdout.buffer.write(zlib.${call}(sys.stdin.buffer.read()))`,
];

describeCodec('__name__', {
  create: () => new __Name__Codec({ level: 6 }),
  // Tests of it are skipped where it is not installed.
  tool: { decode: python('decompress'), encode: [python('compress')] },
  // The largest piece that it works on at once: what the suite makes is as long as several of these.
  blockSize: 256 * 1024,
});
