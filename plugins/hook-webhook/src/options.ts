import { faultOfDeliveryUrl, Secret } from '@pgark/sdk';
import * as z from 'zod';
import { PRESETS } from './presets.ts';
import { keyOf, LEAST_KEY } from './signature.ts';
import { faultOfTemplate } from './template.ts';
import type { WebhookHookOptions } from './webhook-hook.ts';

const secret = z.instanceof(Secret, { error: 'must be a text' });

const url = secret.superRefine((given, context) => {
  const fault = faultOfDeliveryUrl(given, { plain: true });
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

const key = secret.refine((given) => keyOf(given).length >= LEAST_KEY, {
  error: `must be at least ${LEAST_KEY} bytes long; "openssl rand -base64 32" makes one`,
});

/** What the request itself needs; another value would break it or its signature. */
const RESERVED = /^(?:host|content-length|transfer-encoding|connection|expect|upgrade|te|trailer|webhook-.*)$/;

const header = z.strictObject({
  name: z
    .string()
    .regex(/^[!#$%&'*+\-.^_`|~A-Za-z0-9]+$/, 'must be the name of a header')
    .refine((name) => !RESERVED.test(name.toLowerCase()), { error: 'must not be a header that pgark sets itself' }),
  value: secret.refine((value) => /^[\t\x20-\x7e]*$/.test(value.reveal()), { error: 'must be one line of ASCII' }),
});

const template = z.json().superRefine((given, context) => {
  const fault = faultOfTemplate(given);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

export const OPTIONS: z.ZodType<WebhookHookOptions> = z
  .strictObject({
    url: url.describe('Where events are posted: a secret.'),
    secret: z
      .union([key, z.array(key).min(1).max(5)], {
        error: `must be a text of at least ${LEAST_KEY} bytes, or a list of such`,
      })
      .optional()
      .describe(
        'Signs every request, as Standard Webhooks has it: a secret. Several, while one takes the place of another.',
      ),
    headers: z
      .array(header)
      .default([])
      .describe('Further headers, each with a name and a value. The value is a secret.'),
    preset: z
      .enum(Object.keys(PRESETS) as [keyof typeof PRESETS, ...(keyof typeof PRESETS)[]])
      .optional()
      .describe('What is posted: "event" (default) is the event as it is, others suit a kind of receiver.'),
    body: template.optional().describe('What is posted, in the place of a preset: JSON with {{name}} in its texts.'),
  })
  .superRefine(({ preset, body }, context) => {
    if (preset !== undefined && body !== undefined) {
      context.addIssue({ code: 'custom', path: ['body'], message: 'must not be given together with preset' });
    }
  }) as unknown as z.ZodType<WebhookHookOptions>;
