import { Secret } from '@pgark/sdk';
import * as z from 'zod';
import { parseAddress } from './address.ts';
import { PLACEHOLDERS } from './subject.ts';

export interface SmtpHookOptions {
  /** Name or address of the mail server. */
  readonly host: string;
  /** Default 587; 465 with `tls: implicit`, 25 with `tls: none`. */
  readonly port?: number;
  /**
   * `starttls` (default): the connection is upgraded, and a server that does not offer it is sent nothing. `implicit`: TLS from the first byte.
   * `none`: in the clear, and then without a password, unless the server is on this host.
   */
  readonly tls?: 'starttls' | 'implicit' | 'none';
  /** File with the certificates that are trusted in place of those of the system, relative to the config file's folder. */
  readonly caFile?: string;
  readonly user?: string;
  readonly password?: Secret;
  /** `pgark@example.com`, or with a name: `pgark <pgark@example.com>`. */
  readonly from: string;
  readonly to: readonly string[];
  /** Text with `{cluster}`, `{severity}` and so on; default `[pgark {cluster}] {status}: {summary}`. */
  readonly subject?: string;
  /** Adds the event as a JSON file; default false. */
  readonly attachJson?: boolean;
}

const address = z
  .string()
  .refine((text) => parseAddress(text) !== undefined, 'must be one address: "a@b.example" or "Name <a@b.example>"');

export const optionsSchema: z.ZodType<SmtpHookOptions> = z
  .strictObject({
    host: z
      .string()
      .regex(/^[\w.:-]+$/, 'must be a host name or an address')
      .describe('Name or address of the mail server.'),
    port: z.int().min(1).max(65_535).optional().describe('Default 587; 465 with "implicit", 25 with "none".'),
    tls: z
      .enum(['starttls', 'implicit', 'none'])
      .optional()
      .describe(
        '"starttls" (default) insists on the upgrade, "implicit" is TLS from the first byte, "none" has no TLS.',
      ),
    caFile: z
      .string()
      .min(1)
      .optional()
      .describe(
        "File with the certificates that are trusted, relative to the config file's folder; default those of the system.",
      ),
    user: z.string().min(1).optional().describe('Whom to log in as; default: no login.'),
    password: z.instanceof(Secret).optional().describe('Password of the login.'),
    from: address.describe('Address of the sender, with a name or without.'),
    to: z.array(address).min(1).max(100).describe('Addresses of those who are told.'),
    subject: z
      .string()
      .min(1)
      .max(500)
      .refine(
        (text) => [...text.matchAll(/\{([^{}]*)\}/g)].every(([, name = '']) => PLACEHOLDERS.has(name)),
        `has only these placeholders: ${[...PLACEHOLDERS].map((name) => `{${name}}`).join(', ')}`,
      )
      .optional()
      .describe('Subject with placeholders; default "[pgark {cluster}] {status}: {summary}".'),
    attachJson: z.boolean().optional().describe('Add the event as a JSON file; default false.'),
  })
  .superRefine(({ user, password, tls, host }, context) => {
    if ((user === undefined) !== (password === undefined)) {
      const path = [user === undefined ? 'user' : 'password'];
      context.addIssue({ code: 'custom', path, message: 'User and password belong together' });
    }
    if (tls === 'none' && password !== undefined && !isLoopback(host)) {
      const message = 'A password would be sent in the clear: use "starttls" or "implicit"';
      context.addIssue({ code: 'custom', path: ['tls'], message });
    }
  }) as z.ZodType<SmtpHookOptions>;

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
