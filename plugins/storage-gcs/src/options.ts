import { Secret } from '@pgark/sdk';
import * as z from 'zod';

export interface GcsStorageOptions {
  readonly bucket: string;
  /** Project that is billed for the requests; only for buckets whose requesters pay. */
  readonly projectId?: string;
  /** File with the key of a service account, relative to the config file's folder. */
  readonly keyFile?: string;
  /** The key of a service account, as the JSON text that such a file holds. */
  readonly credentials?: Secret;
  /** No credentials at all, for emulators. */
  readonly anonymous?: boolean;
  /** Where requests go: scheme, host and port; default `https://storage.googleapis.com`. */
  readonly endpoint?: string;
  /** Storage class of new objects; default that of the bucket. */
  readonly storageClass?: string;
  /** Cloud KMS key that encrypts new objects; default that of the bucket. */
  readonly kmsKeyName?: string;
  /** Bytes of one request of an upload, a multiple of 256 KiB; an object up to this size takes a single request. */
  readonly chunkSize?: number;
  /** Mode of the retention that objects get; without it they get none. */
  readonly retention?: 'unlocked' | 'locked';
  /** Seconds without progress after which a request is given up; default 60. */
  readonly timeout?: number;
}

/** The unit in which a resumable upload takes its chunks. */
const CHUNK_UNIT = 256 * 1024;

/** A WAL segment of 16 MiB and what encryption adds to it. */
export const DEFAULT_CHUNK_SIZE: number = 17 * 1024 * 1024;

const fields = z.strictObject({
  bucket: z.string().min(3).describe('Name of the bucket.'),
  projectId: z
    .string()
    .min(1)
    .optional()
    .describe('Project that is billed for the requests; only for buckets whose requesters pay.'),
  keyFile: z
    .string()
    .min(1)
    .optional()
    .describe(
      "File with the key of a service account, relative to the config file's folder; default the application default credentials.",
    ),
  credentials: z
    .custom<Secret>((value) => value instanceof Secret, 'must be a secret: a text, or where to read it from')
    .optional()
    .describe('The key of a service account, as JSON text.'),
  anonymous: z.boolean().optional().describe('Sends no credentials, for emulators; default false.'),
  endpoint: z
    .string()
    .refine(isOrigin, 'must be http:// or https://, a host and perhaps a port, without a path')
    .optional()
    .describe('Where requests go, for private endpoints and emulators; default "https://storage.googleapis.com".'),
  storageClass: z.string().min(1).optional().describe('Storage class of new objects; default that of the bucket.'),
  kmsKeyName: z
    .string()
    .min(1)
    .optional()
    .describe('Cloud KMS key for new objects, "projects/.../cryptoKeys/..."; default that of the bucket.'),
  chunkSize: z
    .int()
    .min(CHUNK_UNIT)
    .multipleOf(CHUNK_UNIT)
    .optional()
    .describe(
      'Bytes of one upload request, a multiple of 262144; a larger object takes several and two of these in memory; default 17825792 (17 MiB).',
    ),
  retention: z
    .enum(['unlocked', 'locked'])
    .optional()
    .describe('Mode of the object retention that new objects get; default none. The bucket must allow it.'),
  timeout: z
    .number()
    .positive()
    .max(3600)
    .optional()
    .describe('Seconds without progress after which a request is given up; default 60.'),
});

/** The options as the config gives them. */
export const gcsStorageOptions: z.ZodType<GcsStorageOptions> = fields
  .refine((options) => waysOf(options) <= 1, {
    message: 'takes one of keyFile, credentials and anonymous, or none of them for the application default credentials',
  })
  .refine((options) => options.anonymous === true || !isPlainText(options.endpoint), {
    path: ['endpoint'],
    message: 'must be https:// where credentials are sent; a server without TLS takes "anonymous: true"',
  }) as unknown as z.ZodType<GcsStorageOptions>;

function waysOf(options: z.infer<typeof fields>): number {
  return [options.keyFile, options.credentials, options.anonymous === true ? true : undefined].filter(
    (way) => way !== undefined,
  ).length;
}

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, origin, username } = new URL(text);
  return (protocol === 'http:' || protocol === 'https:') && username === '' && [origin, `${origin}/`].includes(text);
}

/** Whether tokens would go over a network unencrypted; within the machine they may. */
function isPlainText(endpoint: string | undefined): boolean {
  if (endpoint === undefined || !URL.canParse(endpoint)) return false;
  const { protocol, hostname } = new URL(endpoint);
  return protocol === 'http:' && !['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}
