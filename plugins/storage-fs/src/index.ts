import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { FsStorage, type FsStorageOptions } from './fs-storage.ts';

export { FsStorage, type FsStorageOptions } from './fs-storage.ts';

const mode = z.string().regex(/^0?[0-7]{3}$/, 'must be an octal mode in quotes, such as "0640"');

const plugin: Plugin<'storage', FsStorageOptions> = definePlugin({
  name: 'fs',
  kind: 'storage',
  options: z.strictObject({
    path: z.string().min(1).describe("Folder of the archive, relative to the config file's folder."),
    fileMode: mode.optional().describe('Mode of objects, narrowed by the umask; default "0640".'),
    directoryMode: mode.optional().describe('Mode of folders, narrowed by the umask; default "0750".'),
  }) as z.ZodType<FsStorageOptions>,
  create: (options, context) => new FsStorage(options, context),
});

export default plugin;
