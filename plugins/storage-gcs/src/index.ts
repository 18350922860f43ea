import { definePlugin, type Plugin } from '@pgark/sdk';
import { GcsStorage } from './gcs-storage.ts';
import { gcsStorageOptions, type GcsStorageOptions } from './options.ts';

export { GcsStorage } from './gcs-storage.ts';
export { type GcsStorageOptions } from './options.ts';

/** Storage in a bucket of Google Cloud Storage. */
const plugin: Plugin<'storage', GcsStorageOptions> = definePlugin({
  name: 'gcs',
  kind: 'storage',
  secrets: ['credentials'],
  options: gcsStorageOptions,
  create: (options, context) => new GcsStorage(options, context),
});

export default plugin;
