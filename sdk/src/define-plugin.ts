import { API_VERSION, type Plugin, type PluginKind } from 'pgark/contracts';

/**
 * Types a plugin's manifest and fills in the API version it is built for.
 *
 * @example
 * export default definePlugin({
 *   name: 'fs', kind: 'storage',
 *   options: z.strictObject({ path: z.string() }),
 *   create: (options, context) => new FsStorage(options, context),
 * });
 */
export function definePlugin<Kind extends PluginKind, Options>(
  plugin: Omit<Plugin<Kind, Options>, 'apiVersion'>,
): Plugin<Kind, Options> {
  return Object.freeze({ ...plugin, apiVersion: API_VERSION });
}
