import { definePlugin, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { ExecHook, type ExecHookOptions } from './exec-hook.ts';

const noNul = z.string().refine((text) => !text.includes('\0'), { error: 'must not hold a NUL' });

const options = z.strictObject({
  command: z
    .tuple([noNul.min(1, 'must name a program')], noNul)
    .describe(
      'The program and its arguments, a text each. No shell reads them. A relative path begins at the folder of the config file.',
    ),
  mode: z
    .enum(['event', 'barman'])
    .default('event')
    .describe(
      '"event" runs it for every event; "barman" for those that Barman has hook scripts for, with its variables too.',
    ),
  inherit: z
    .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable'))
    .default([])
    .describe(
      "Variables of pgark's own environment that the program gets, beside PATH, HOME, USER, LOGNAME, SHELL, TMPDIR, TZ, LANG and LC_*.",
    ),
});

const plugin: Plugin<'hook', ExecHookOptions> = definePlugin({
  name: 'exec',
  kind: 'hook',
  options,
  create: (options, context) => new ExecHook(options, context),
});

export default plugin;
export { ExecHook, type ExecHookOptions } from './exec-hook.ts';
