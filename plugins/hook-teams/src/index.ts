import { definePlugin, faultOfDeliveryUrl, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { TeamsHook, type TeamsHookOptions } from './teams-hook.ts';

const url = z.instanceof(Secret, { error: 'must be a text' }).superRefine((given, context) => {
  const fault = faultOfDeliveryUrl(given);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

const options = z.strictObject({
  url: url.describe('URL of a workflow that is triggered by a webhook: a secret, as whoever knows it can post.'),
});

const plugin: Plugin<'hook', TeamsHookOptions> = definePlugin({
  name: 'teams',
  kind: 'hook',
  secrets: ['url'],
  options,
  create: (options) => new TeamsHook(options),
});

export default plugin;
export { TeamsHook, type TeamsHookOptions } from './teams-hook.ts';
