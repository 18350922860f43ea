import { definePlugin, type Plugin } from '@pgark/sdk';
import { OPTIONS } from './options.ts';
import { WebhookHook, type WebhookHookOptions } from './webhook-hook.ts';

const plugin: Plugin<'hook', WebhookHookOptions> = definePlugin({
  name: 'webhook',
  kind: 'hook',
  secrets: ['url', 'secret', 'headers[].value'],
  options: OPTIONS,
  create: (options) => new WebhookHook(options),
});

export default plugin;
export { WebhookHook, type WebhookHookOptions } from './webhook-hook.ts';
