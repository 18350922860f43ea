import * as z from 'zod';
import { ArchiveError, Secret } from '@pgark/sdk';
import { PROVIDERS, type Provider, type ProviderName } from './providers.ts';
import { parseMilliseconds, parseSize } from './units.ts';

export interface S3StorageOptions {
  readonly bucket: string;
  /** Whose S3 it is; default `aws` without an endpoint, `other` with one. Gives the defaults of what services differ in. */
  readonly provider?: ProviderName;
  /** Default: as the AWS tools find it (`AWS_REGION`, the profile); for other providers `us-east-1` (`auto` for r2). */
  readonly region?: string;
  /** URL of the service; default: that of AWS. */
  readonly endpoint?: string;
  /** The bucket in the path of the URL instead of its host name; the default depends on the provider. */
  readonly pathStyle?: boolean;
  /** Default: what the AWS tools use: environment, profile, SSO, web identity, container or instance role. */
  readonly accessKeyId?: string;
  readonly secretAccessKey?: Secret;
  readonly sessionToken?: Secret;
  /** Profile of the AWS config files; default `AWS_PROFILE`. */
  readonly profile?: string;
  /** Whether the service refuses to replace an object when asked so by `If-None-Match`; the default depends on the provider. */
  readonly conditionalPut?: boolean;
  /** `crc32`: on every request, and checked on what is read. `md5`: `Content-MD5` only where S3 demands a checksum. */
  readonly checksums?: 'crc32' | 'md5';
  /**
   * Whether the signature of an upload covers its bytes, by a SHA-256 that both sides compute. Without it they are protected by TLS and
   * the CRC32. Default: not over https with `checksums: crc32`, else yes.
   */
  readonly signPayload?: boolean;
  /** Size of a part of a large object, at least 5MiB; default `8MiB` (`16MiB` for r2). */
  readonly partSize?: string;
  /** Parts of one object sent at once; default 4. */
  readonly parallelParts?: number;
  /** Objects up to this size are sent by one request; default `20MiB`. */
  readonly singlePut?: string;
  readonly storageClass?: string;
  /** Encryption by the service; default: what the bucket has. */
  readonly encryption?: 'AES256' | 'aws:kms' | 'aws:kms:dsse';
  /** Key for `aws:kms`; default: the key of AWS. */
  readonly kmsKeyId?: string;
  /** How the storage holds objects that are stored with a retention; without it, retention is not enforced. */
  readonly objectLock?: 'governance' | 'compliance';
  /** Certificates (PEM) to trust beside the usual ones; relative to the config file's folder. */
  readonly caFile?: string;
  /** URL of an HTTP proxy; default `HTTPS_PROXY` or `HTTP_PROXY`, with `NO_PROXY`. */
  readonly proxy?: Secret;
  /** Longest time to connect; default `10s`. */
  readonly connectTimeout?: string;
  /** Longest time in which no byte goes or comes; default `60s`. */
  readonly idleTimeout?: string;
}

const MIB = 1024 * 1024;

const size = (least: number, most: number): z.ZodType<string> =>
  z.string().refine((text) => inLimits(parseSize(text), least, most), {
    error: `must be a size such as 8MiB, at least ${least / MIB}MiB and at most ${most / MIB}MiB`,
  });

const time = z.string().refine((text) => inLimits(parseMilliseconds(text), 1, 3_600_000), {
  error: 'must be a time such as 500ms, 10s or 2m, at most 60m',
});

function inLimits(value: number | undefined, least: number, most: number): boolean {
  return value !== undefined && value >= least && value <= most;
}

const secret = z.instanceof(Secret, { error: 'must be a text' });

export const OPTIONS: z.ZodType<S3StorageOptions> = z
  .strictObject({
    bucket: z
      .string()
      .min(1)
      .refine((name) => !name.endsWith('--x-s3'), {
        error: 'must not be a directory bucket: its listings have no order',
      })
      .describe('Name of the bucket. It has to be there.'),
    provider: z
      .enum(Object.keys(PROVIDERS) as [ProviderName, ...ProviderName[]])
      .optional()
      .describe('Whose S3 it is; default "aws" without an endpoint, "other" with one.'),
    region: z.string().min(1).optional().describe('Default: as the AWS tools find it; otherwise "us-east-1".'),
    endpoint: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe('URL of the service; default: that of AWS.'),
    pathStyle: z
      .boolean()
      .optional()
      .describe('The bucket in the path instead of the host name; default by the provider.'),
    accessKeyId: z.string().min(1).optional().describe('Default: credentials as the AWS tools find them.'),
    secretAccessKey: secret.optional().describe('Secret of the access key.'),
    sessionToken: secret.optional().describe('Session token of temporary keys.'),
    profile: z.string().min(1).optional().describe('Profile of the AWS config files; default "AWS_PROFILE".'),
    conditionalPut: z
      .boolean()
      .optional()
      .describe('Whether the service honours "If-None-Match: *" on uploads; default by the provider.'),
    checksums: z
      .enum(['crc32', 'md5'])
      .optional()
      .describe(
        '"crc32" on every request, "md5" only where S3 demands a checksum; default "crc32" for aws, else "md5".',
      ),
    signPayload: z
      .boolean()
      .optional()
      .describe('Sign the bytes of uploads, which costs a SHA-256; default: not over https with checksums "crc32".'),
    partSize: size(5 * MIB, 5120 * MIB)
      .optional()
      .describe('Size of a part of a large object; default "8MiB".'),
    parallelParts: z.int().min(1).max(64).optional().describe('Parts of one object sent at once; default 4.'),
    singlePut: size(0, 5120 * MIB)
      .optional()
      .describe('Objects up to this size are sent by one request; default "20MiB".'),
    storageClass: z.string().min(1).optional().describe('Storage class of new objects, such as "STANDARD_IA".'),
    encryption: z
      .enum(['AES256', 'aws:kms', 'aws:kms:dsse'])
      .optional()
      .describe('Encryption by the service; default: what the bucket has.'),
    kmsKeyId: z.string().min(1).optional().describe('Key for "aws:kms"; default: the key of AWS.'),
    objectLock: z
      .enum(['governance', 'compliance'])
      .optional()
      .describe('Hold objects that are stored with a retention; the bucket needs Object Lock.'),
    caFile: z.string().min(1).optional().describe('Certificates (PEM) to trust beside the usual ones.'),
    proxy: secret.optional().describe('URL of an HTTP proxy; default "HTTPS_PROXY" or "HTTP_PROXY", with "NO_PROXY".'),
    connectTimeout: time.optional().describe('Longest time to connect; default "10s".'),
    idleTimeout: time.optional().describe('Longest time in which no byte goes or comes; default "60s".'),
  })
  .superRefine((options, context) => {
    const fault = faultOf(options);
    if (fault !== undefined) context.addIssue({ code: 'custom', path: [fault.option], message: fault.message });
  }) as unknown as z.ZodType<S3StorageOptions>;

function faultOf(options: object): { readonly option: string; readonly message: string } | undefined {
  const { accessKeyId, secretAccessKey, sessionToken, provider, endpoint, kmsKeyId, encryption, profile } =
    options as S3StorageOptions;
  const { checksums, signPayload } = options as S3StorageOptions;
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    const option = accessKeyId === undefined ? 'accessKeyId' : 'secretAccessKey';
    return { option, message: 'must be given too: accessKeyId and secretAccessKey belong together' };
  }
  if (sessionToken !== undefined && accessKeyId === undefined) {
    return { option: 'sessionToken', message: 'needs accessKeyId and secretAccessKey' };
  }
  if (profile !== undefined && accessKeyId !== undefined) {
    return { option: 'profile', message: 'must not be given together with accessKeyId' };
  }
  if (provider !== undefined && provider !== 'aws' && provider !== 'gcs' && endpoint === undefined) {
    return { option: 'endpoint', message: `must be given for ${provider}` };
  }
  if (kmsKeyId !== undefined && encryption?.startsWith('aws:kms') !== true) {
    return { option: 'kmsKeyId', message: 'needs encryption: aws:kms' };
  }
  if (signPayload === false && (checksums ?? presetOf(options as S3StorageOptions).checksums) !== 'crc32')
    return { option: 'signPayload', message: 'needs checksums: crc32, or nothing would tell damage on the way' };
  return undefined;
}

function presetOf(options: S3StorageOptions): Provider {
  return PROVIDERS[providerOf(options)];
}

function providerOf({ provider, endpoint }: S3StorageOptions): ProviderName {
  return provider ?? (endpoint === undefined ? 'aws' : 'other');
}

/** The options with their defaults, in units that code works with. */
export interface Settings {
  readonly bucket: string;
  readonly provider: ProviderName;
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly pathStyle: boolean;
  readonly credentials:
    | { readonly accessKeyId: string; readonly secretAccessKey: Secret; readonly sessionToken: Secret | undefined }
    | undefined;
  readonly profile: string | undefined;
  readonly conditionalPut: boolean;
  readonly checksums: 'crc32' | 'md5';
  readonly signPayload: boolean;
  /** Bytes. */
  readonly partSize: number;
  /** All parts but the last have to be of one size. */
  readonly equalParts: boolean;
  readonly versionTimes: Provider['versionTimes'];
  readonly parallelParts: number;
  /** Bytes. */
  readonly singlePut: number;
  readonly storageClass: string | undefined;
  readonly encryption: 'AES256' | 'aws:kms' | 'aws:kms:dsse' | undefined;
  readonly kmsKeyId: string | undefined;
  readonly objectLock: 'GOVERNANCE' | 'COMPLIANCE' | undefined;
  readonly caFile: string | undefined;
  readonly proxy: Secret | undefined;
  /** Milliseconds. */
  readonly connectTimeout: number;
  /** Milliseconds. */
  readonly idleTimeout: number;
}

export function settingsOf(options: S3StorageOptions): Settings {
  const preset = presetOf(options);
  const endpoint = options.endpoint ?? preset.endpoint;
  const checksums = options.checksums ?? preset.checksums;
  const { accessKeyId, secretAccessKey, sessionToken } = options;
  return Object.freeze({
    bucket: options.bucket,
    provider: providerOf(options),
    region: options.region ?? preset.region,
    endpoint,
    // A certificate for *.host does not cover a bucket name with a dot.
    pathStyle: options.pathStyle ?? (preset.pathStyle || options.bucket.includes('.')),
    credentials:
      accessKeyId === undefined || secretAccessKey === undefined
        ? undefined
        : { accessKeyId, secretAccessKey, sessionToken },
    profile: options.profile,
    conditionalPut: options.conditionalPut ?? preset.conditionalPut,
    checksums,
    signPayload: options.signPayload ?? (checksums !== 'crc32' || endpoint?.startsWith('http:') === true),
    partSize: sizeOf('partSize', options.partSize ?? preset.partSize),
    equalParts: preset.equalParts,
    versionTimes: preset.versionTimes,
    parallelParts: options.parallelParts ?? 4,
    singlePut: sizeOf('singlePut', options.singlePut ?? '20MiB'),
    storageClass: options.storageClass,
    encryption: options.encryption,
    kmsKeyId: options.kmsKeyId,
    objectLock: options.objectLock === undefined ? undefined : LOCK_MODES[options.objectLock],
    caFile: options.caFile,
    proxy: options.proxy,
    connectTimeout: timeOf('connectTimeout', options.connectTimeout ?? '10s'),
    idleTimeout: timeOf('idleTimeout', options.idleTimeout ?? '60s'),
  });
}

const LOCK_MODES = { governance: 'GOVERNANCE', compliance: 'COMPLIANCE' } as const;

function sizeOf(name: string, text: string): number {
  return parseSize(text) ?? refuse(name, text);
}

function timeOf(name: string, text: string): number {
  return parseMilliseconds(text) ?? refuse(name, text);
}

/** Only reached by code that makes a storage without the schema. */
function refuse(name: string, text: string): never {
  throw new ArchiveError('PLUGIN_OPTIONS', `${name} of the s3 storage cannot be "${text}"`);
}
