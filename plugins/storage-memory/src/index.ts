import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { MemoryStorage } from './memory-storage.ts';

export { MemoryStorage, type MemoryStorageOptions } from './memory-storage.ts';

const plugin: Plugin<'storage', Record<string, never>> = definePlugin({
  name: 'memory',
  kind: 'storage',
  options: z.strictObject({}),
  create: () => new MemoryStorage(),
});

export default plugin;
