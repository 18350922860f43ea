import { definePlugin, type Plugin } from '@pgark/sdk';
import { optionsSchema, type OtelHookOptions } from './options.ts';
import { OtelHook } from './otel-hook.ts';

export type { OtelHookOptions } from './options.ts';
export { OtelHook } from './otel-hook.ts';

const plugin: Plugin<'hook', OtelHookOptions> = definePlugin({
  name: 'otel',
  kind: 'hook',
  secrets: ['headers[].value'],
  options: optionsSchema,
  create: (options) => new OtelHook(options),
});

export default plugin;
