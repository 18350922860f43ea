import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { __Name__Codec, type __Name__CodecOptions } from './__name__-codec.ts';

const options = z.strictObject({
  level: z
    .int()
    .min(1)
    .max(9)
    .default(6)
    .describe('Compression level: 1 is the fastest, 9 makes the smallest objects.'),
});

const plugin: Plugin<'codec', __Name__CodecOptions> = definePlugin({
  name: '__name__',
  kind: 'codec',
  suffix: '__name__',
  options,
  create: (options) => new __Name__Codec(options),
});

export default plugin;
export { __Name__Codec, type __Name__CodecOptions } from './__name__-codec.ts';
