import { definePlugin, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { __Name__Hook, type __Name__HookOptions } from './__name__-hook.ts';

const options = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe('Where events are sent to.'),
  // Wrapped before it gets here, because it is named in "secrets".
  token: z.instanceof(Secret).optional().describe('Sent as a bearer token.'),
});

const plugin: Plugin<'hook', __Name__HookOptions> = definePlugin({
  name: '__name__',
  kind: 'hook',
  secrets: ['token'],
  options,
  create: (options) => new __Name__Hook(options),
});

export default plugin;
export { __Name__Hook, type __Name__HookOptions } from './__name__-hook.ts';
