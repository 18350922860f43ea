import { definePlugin, type Plugin } from '@pgark/sdk';
import { optionsSchema, type SmtpHookOptions } from './options.ts';
import { SmtpHook } from './smtp-hook.ts';

export type { SmtpHookOptions } from './options.ts';
export { SmtpHook } from './smtp-hook.ts';

const plugin: Plugin<'hook', SmtpHookOptions> = definePlugin({
  name: 'smtp',
  kind: 'hook',
  secrets: ['password'],
  options: optionsSchema,
  create: (options, context) => new SmtpHook(options, context),
});

export default plugin;
