import { definePlugin, type Plugin } from '@pgark/sdk';
import { AzureStorage } from './azure-storage.ts';
import { optionsSchema, type AzureStorageOptions } from './options.ts';

export { AzureStorage } from './azure-storage.ts';
export type { AzureStorageOptions } from './options.ts';

const plugin: Plugin<'storage', AzureStorageOptions> = definePlugin({
  name: 'azure',
  kind: 'storage',
  secrets: ['connectionString', 'accountKey', 'sasToken'],
  options: optionsSchema,
  create: (options) => new AzureStorage(options),
});

export default plugin;
