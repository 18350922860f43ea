import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { Lz4Codec } from './lz4-codec.ts';

type NoOptions = Readonly<Record<string, never>>;

const options: z.ZodType<NoOptions> = z.strictObject({});

const plugin: Plugin<'codec', NoOptions> = definePlugin({
  name: 'lz4',
  kind: 'codec',
  suffix: 'lz4',
  options,
  create: () => new Lz4Codec(),
});

export default plugin;
export { Lz4Codec } from './lz4-codec.ts';
