import { definePlugin, faultOfDeliveryUrl, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { PagerDutyHook, type PagerDutyHookOptions } from './pagerduty-hook.ts';

const severity = z.enum(['critical', 'error', 'warning', 'info']);

const options = z.strictObject({
  routingKey: z
    .instanceof(Secret, { error: 'must be a text' })
    .refine((key) => /^[A-Za-z0-9]{32}$/.test(key.reveal()), {
      error: 'must be the 32 letters and digits of an integration key',
    })
    .describe('Integration key of an integration of the kind "Events API v2": a secret.'),
  endpoint: z
    .string()
    .superRefine((given, context) => {
      const fault = faultOfDeliveryUrl(new Secret(given));
      if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
    })
    .default('https://events.pagerduty.com/v2/enqueue')
    .describe('Where events are sent; "https://events.eu.pagerduty.com/v2/enqueue" for accounts in Europe.'),
  severities: z
    .strictObject({
      critical: severity.default('critical'),
      warning: severity.default('warning'),
      info: severity.default('info'),
    })
    .prefault({})
    .describe('The severity in PagerDuty for each of pgark.'),
});

const plugin: Plugin<'hook', PagerDutyHookOptions> = definePlugin({
  name: 'pagerduty',
  kind: 'hook',
  secrets: ['routingKey'],
  options,
  create: (options) => new PagerDutyHook(options),
});

export default plugin;
export { PagerDutyHook, type PagerDutyHookOptions } from './pagerduty-hook.ts';
