import { definePlugin, type Plugin } from '@pgark/sdk';
import { OPTIONS, type S3StorageOptions } from './options.ts';
import { S3Storage } from './s3-storage.ts';

export { type S3StorageOptions } from './options.ts';
export { type ProviderName } from './providers.ts';
export { S3Storage } from './s3-storage.ts';

const plugin: Plugin<'storage', S3StorageOptions> = definePlugin({
  name: 's3',
  kind: 'storage',
  secrets: ['secretAccessKey', 'sessionToken', 'proxy'],
  options: OPTIONS,
  create: (options, context) => new S3Storage(options, context),
});

export default plugin;
