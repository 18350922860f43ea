import { faultOfDeliveryUrl, Secret } from '@pgark/sdk';
import * as z from 'zod';

export interface OtelHookOptions {
  /** Where the collector takes OTLP over HTTP; `/v1/traces` and `/v1/metrics` are added: `http://localhost:4318`. */
  readonly url: string;
  readonly headers?: readonly { readonly name: string; readonly value: Secret }[];
  /** Default true. */
  readonly traces?: boolean;
  /** Default true. */
  readonly metrics?: boolean;
  /** The resource attribute `service.name`; default `pgark`. */
  readonly serviceName?: string;
  /** Further resource attributes: `deployment.environment.name: production`. */
  readonly resource?: Readonly<Record<string, string>>;
}

/** What the request itself needs; another value would break it, with each event anew. */
const RESERVED = /^(?:host|content-length|content-type|transfer-encoding|connection|expect|upgrade|te|trailer)$/i;

export const optionsSchema: z.ZodType<OtelHookOptions> = z
  .strictObject({
    url: z
      .string()
      .refine(
        (url) => faultOfDeliveryUrl(new Secret(url), { plain: true }) === undefined,
        'must be an http or https URL',
      )
      .refine(
        (url) => !/[?#]|\/v1\/(?:traces|metrics)\/?$/.test(url),
        'must be the address before /v1/traces and /v1/metrics',
      )
      .describe('Where the collector takes OTLP over HTTP, without /v1/traces.'),
    headers: z
      .array(
        z.strictObject({
          name: z
            .string()
            .regex(/^[!#$%&'*+.^_`|~\w-]+$/, 'must be the name of a header')
            .refine((name) => !RESERVED.test(name), 'must not be a header that pgark sets itself'),
          value: z
            .instanceof(Secret)
            .refine((value) => /^[\t\x20-\x7e]*$/.test(value.reveal()), 'must be one line of ASCII'),
        }),
      )
      .optional()
      .describe('Further headers, each with a name and a value. The value is a secret.'),
    traces: z.boolean().optional().describe('Send spans; default true.'),
    metrics: z.boolean().optional().describe('Send metrics; default true.'),
    serviceName: z.string().min(1).optional().describe('The resource attribute "service.name"; default "pgark".'),
    resource: z.record(z.string().min(1), z.string()).optional().describe('Further resource attributes.'),
  })
  .refine(({ traces, metrics }) => traces !== false || metrics !== false, {
    path: ['metrics'],
    error: 'there is nothing left to send',
  }) as z.ZodType<OtelHookOptions>;
