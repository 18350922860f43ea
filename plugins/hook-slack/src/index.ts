import { definePlugin, faultOfDeliveryUrl, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { SlackHook, type SlackHookOptions } from './slack-hook.ts';

const url = z.instanceof(Secret, { error: 'must be a text' }).superRefine((given, context) => {
  const fault = faultOfDeliveryUrl(given);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

const options = z.strictObject({
  url: url.describe('URL of an incoming webhook: a secret, as whoever knows it can post.'),
  mention: z
    .array(
      z
        .string()
        .regex(/^(?:here|channel|[UWS][A-Z0-9]{2,20})$/, 'must be "here", "channel" or the id of a user or group'),
    )
    .max(20)
    .default([])
    .describe(
      'Whom to mention when something critical begins: "here", "channel", ids of users (U...) and groups (S...).',
    ),
});

const plugin: Plugin<'hook', SlackHookOptions> = definePlugin({
  name: 'slack',
  kind: 'hook',
  secrets: ['url'],
  options,
  create: (options) => new SlackHook(options),
});

export default plugin;
export { SlackHook, type SlackHookOptions } from './slack-hook.ts';
