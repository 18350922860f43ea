import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { __Name__Storage, type __Name__StorageOptions } from './__name__-storage.ts';

const options = z.strictObject({
  path: z.string().min(1).describe('Folder that holds the objects; it must exist.'),
});

const plugin: Plugin<'storage', __Name__StorageOptions> = definePlugin({
  name: '__name__',
  kind: 'storage',
  options,
  create: (options, context) => new __Name__Storage(options, context),
});

export default plugin;
export { __Name__Storage, type __Name__StorageOptions } from './__name__-storage.ts';
