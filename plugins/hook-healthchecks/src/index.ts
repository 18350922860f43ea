import { definePlugin, faultOfDeliveryUrl, Secret, type Plugin } from '@pgark/sdk';
import * as z from 'zod';
import { HealthchecksHook, type HealthchecksHookOptions } from './healthchecks-hook.ts';

const url = z.instanceof(Secret, { error: 'must be a text' }).superRefine((given, context) => {
  const fault = faultOfDeliveryUrl(given, { plain: true });
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

/** Names of events. They are not held against the list: a plugin of today may work for a pgark of tomorrow. */
const events = z.array(z.string().regex(/^[a-z]+(?:[._][a-z]+)+$/, 'must be the name of an event'));

const options = z
  .strictObject({
    url: url.describe('Ping URL of the check, with its UUID or its ping key and slug: a secret.'),
    start: events.default(['backup.started']).describe('Events that start the clock of a run.'),
    success: events.default(['backup.finished']).describe('Events that are a success.'),
    fail: events.default(['backup.failed']).describe('Events that are a failure.'),
    log: events.default([]).describe('Events that are noted, without a change of the state of the check.'),
  })
  .superRefine(({ start, success, fail, log }, context) => {
    const all = [...start, ...success, ...fail, ...log];
    const twice = all.find((name, at) => all.indexOf(name) !== at);
    if (twice !== undefined)
      context.addIssue({ code: 'custom', path: ['start'], message: `${twice} stands in two of the lists` });
  });

const plugin: Plugin<'hook', HealthchecksHookOptions> = definePlugin({
  name: 'healthchecks',
  kind: 'hook',
  secrets: ['url'],
  options,
  create: (options) => new HealthchecksHook(options),
});

export default plugin;
export { HealthchecksHook, type HealthchecksHookOptions } from './healthchecks-hook.ts';
