import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { GzipCodec, type GzipCodecOptions } from './gzip-codec.ts';

const options = z.strictObject({
  level: z
    .int()
    .min(1)
    .max(9)
    .default(6)
    .describe('Compression level: 1 is the fastest, 9 makes the smallest objects.'),
});

const plugin: Plugin<'codec', GzipCodecOptions> = definePlugin({
  name: 'gzip',
  kind: 'codec',
  suffix: 'gz',
  options,
  create: (options) => new GzipCodec(options),
});

export default plugin;
export { GzipCodec, type GzipCodecOptions } from './gzip-codec.ts';
