import { Secret } from '@pgark/sdk';
import * as z from 'zod';

export interface AzureStorageOptions {
  /** Name of the storage account; not with a connection string, which names it. */
  readonly account?: string;
  readonly container: string;
  readonly connectionString?: Secret;
  readonly accountKey?: Secret;
  readonly sasToken?: Secret;
  /** Client id of a user-assigned managed identity; only without the other credentials. */
  readonly clientId?: string;
  /** URL of the blob service; default `https://<account>.blob.core.windows.net`. */
  readonly endpoint?: string;
  /** Access tier of new objects; default that of the account. */
  readonly accessTier?: 'Hot' | 'Cool' | 'Cold';
  /** Bytes of one block of a large object; default 8 MiB. A put holds at most five blocks in memory. */
  readonly blockSize?: number;
  /** Seconds without progress after which a request fails; default 60. */
  readonly timeout?: number;
  /** Mode of the immutability policy that `retainUntil` becomes; without it there is no retention. */
  readonly immutability?: 'Unlocked' | 'Locked';
}

const MIB = 1024 * 1024;

export const DEFAULT_BLOCK_SIZE: number = 8 * MIB;
export const DEFAULT_TIMEOUT = 60;

const secret = z.instanceof(Secret);

/** The ways to prove who one is; none of them means a managed identity, or what else the surroundings offer. */
const CREDENTIALS = ['connectionString', 'accountKey', 'sasToken', 'clientId'] as const;

export const optionsSchema: z.ZodType<AzureStorageOptions> = z
  .strictObject({
    account: z
      .string()
      .regex(/^[a-z0-9]{3,24}$/, 'must be the name of a storage account: 3 to 24 lower-case letters and digits')
      .optional()
      .describe('Name of the storage account; not with connectionString, which names it.'),
    container: z
      .string()
      .regex(
        /^(?:\$root|[a-z0-9](?:[a-z0-9]|-(?!-)){1,61}[a-z0-9])$/,
        'must be the name of a container: 3 to 63 lower-case letters, digits and single dashes',
      )
      .describe('Name of the container; it must exist.'),
    connectionString: secret.optional().describe('Connection string with a key or a SAS.'),
    accountKey: secret.optional().describe('Key of the account, base64.'),
    sasToken: secret.optional().describe('Shared access signature, with or without the leading question mark.'),
    clientId: z
      .string()
      .min(1)
      .optional()
      .describe('Client id of a user-assigned managed identity; only without another credential.'),
    endpoint: z
      .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
      .optional()
      .describe('URL of the blob service; default https://<account>.blob.core.windows.net.'),
    accessTier: z.enum(['Hot', 'Cool', 'Cold']).optional().describe('Access tier of new objects.'),
    blockSize: z
      .int()
      .min(64 * 1024)
      .max(4000 * MIB)
      .optional()
      .describe('Bytes of one block of a large object; default 8388608. A put holds at most five blocks in memory.'),
    timeout: z
      .number()
      .positive()
      .max(3600)
      .optional()
      .describe('Seconds without progress after which a request fails; default 60.'),
    immutability: z
      .enum(['Unlocked', 'Locked'])
      .optional()
      .describe('Mode of the immutability policy of objects that are to be retained; default: no retention.'),
  })
  .superRefine((options, context) => {
    const given = CREDENTIALS.filter((name) => options[name] !== undefined);
    const [first, second] = given;
    if (first !== undefined && second !== undefined) {
      context.addIssue({
        code: 'custom',
        path: [second],
        message: `Give one credential only: there is ${first} already`,
      });
    }
    for (const name of ['account', 'endpoint'] as const) {
      if (options.connectionString === undefined || options[name] === undefined) continue;
      context.addIssue({ code: 'custom', path: [name], message: 'Is part of connectionString: leave it out' });
    }
    if (options.endpoint !== undefined && given.length < 2 && !isSafe(options.endpoint, first)) {
      context.addIssue({
        code: 'custom',
        path: ['endpoint'],
        message: 'Must be https: a token would be sent in the clear',
      });
    }
    if (options.connectionString === undefined && options.account === undefined) {
      context.addIssue({ code: 'custom', path: ['account'], message: 'Name the storage account' });
    }
  }) as z.ZodType<AzureStorageOptions>;

/** Whether the credential may be sent there: a key is not sent, it signs; an identity's token goes over TLS only. */
function isSafe(endpoint: string, credential: (typeof CREDENTIALS)[number] | undefined): boolean {
  // Another protocol, or no URL at all, is refused elsewhere.
  if (!endpoint.startsWith('http:') || credential === 'accountKey') return true;
  return credential === 'sasToken' && /^http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost)(?:[:/]|$)/.test(endpoint);
}
