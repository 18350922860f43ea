import { definePlugin, faultOfDeliveryUrl, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { DiscordHook, type DiscordHookOptions } from './discord-hook.ts';

const url = z.instanceof(Secret, { error: 'must be a text' }).superRefine((given, context) => {
  const fault = faultOfDeliveryUrl(given);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

const options = z.strictObject({
  url: url.describe('URL of a webhook of the channel: a secret, as whoever knows it can post.'),
  thread: z
    .string()
    .regex(/^\d{1,20}$/, 'must be the id of a thread')
    .optional()
    .describe('Id of a thread in the channel to post to.'),
});

const plugin: Plugin<'hook', DiscordHookOptions> = definePlugin({
  name: 'discord',
  kind: 'hook',
  secrets: ['url'],
  options: options as z.ZodType<DiscordHookOptions>,
  create: (options) => new DiscordHook(options),
});

export default plugin;
export { DiscordHook, type DiscordHookOptions } from './discord-hook.ts';
