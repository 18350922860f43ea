import type { Hook, Logger, Plugin } from '@pgark/sdk';
import { testContext } from '@pgark/sdk/testing';

/** What is wrong with options, as `path: message`; undefined when nothing is. */
export async function optionFaults<Options>(
  plugin: Plugin<'hook', Options>,
  options: unknown,
): Promise<readonly string[] | undefined> {
  const { issues } = await plugin.options['~standard'].validate(options);
  return issues?.map(({ path, message }) => `${(path ?? []).map(String).join('.')}: ${message}`);
}

/** The hook that a config with these options gets: they go through the plugin's schema. */
export async function configuredHook<Options>(
  plugin: Plugin<'hook', Options>,
  options: unknown,
  context: { readonly directory?: string; readonly logger?: Logger } = {},
): Promise<Hook> {
  const result = await plugin.options['~standard'].validate(options);
  if (result.issues !== undefined) throw new Error(result.issues.map(({ message }) => message).join('\n'));
  return plugin.create(result.value, testContext({ directory: '/', ...context }));
}
