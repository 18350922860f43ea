import { definePlugin, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { NtfyHook, type NtfyHookOptions } from './ntfy-hook.ts';

const plugin: Plugin<'hook', NtfyHookOptions> = definePlugin({
  name: 'ntfy',
  kind: 'hook',
  secrets: ['token'],
  options: z.strictObject({
    url: z.url({ protocol: /^https?$/ }).describe('Address of the ntfy server.'),
    topic: z
      .string()
      .regex(/^[-_A-Za-z0-9]{1,64}$/)
      .describe('Topic that is published to.'),
    token: z
      .instanceof(Secret as unknown as new () => Secret, { error: 'must be a text' })
      .optional()
      .describe('Access token, if the topic needs one.'),
  }),
  create: (options) => new NtfyHook(options),
});

export default plugin;
