import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { ZstdCodec, type ZstdCodecOptions } from './zstd-codec.ts';

const options = z.strictObject({
  level: z
    .int()
    .min(1)
    .max(19)
    .default(1)
    .describe('Compression level: 1 is the fastest, 19 makes the smallest objects and needs much memory.'),
  long: z
    .boolean()
    .default(false)
    .describe(
      'Also find repetitions up to 16 MiB apart: smaller objects where large values or files occur again, a few percent elsewhere. It takes half as long again, 80 MiB more per thread, and reading works on one core.',
    ),
});

const plugin: Plugin<'codec', ZstdCodecOptions> = definePlugin({
  name: 'zstd',
  kind: 'codec',
  suffix: 'zst',
  options,
  create: (options) => new ZstdCodec(options),
});

export default plugin;
export { ZstdCodec, type ZstdCodecOptions } from './zstd-codec.ts';
