import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { ZlibCodec, type ZlibCodecOptions } from './zlib-codec.ts';

const plugin: Plugin<'codec', ZlibCodecOptions> = definePlugin({
  name: 'zlib',
  kind: 'codec',
  suffix: 'zz',
  options: z.strictObject({
    level: z.int().min(1).max(9).default(6).describe('1 is the fastest, 9 makes the smallest objects.'),
  }),
  create: (options) => new ZlibCodec(options),
});

export default plugin;
