import type { S3, S3ClientConfig } from '@aws-sdk/client-s3';
import type { NodeHttpHandler } from '@smithy/node-http-handler';
import type { Agents } from './agents.ts';
import { inSlices } from './body-slices.ts';
import type { Settings } from './options.ts';

/** What this plugin needs of the requests that pass the SDK's middleware. */
interface Request {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
}

/** The client and what it must be closed with. */
export interface Client {
  readonly s3: S3;
  readonly close: () => void;
}

/** Loads the SDK, which takes a tenth of a second, and makes the client. It connects when the first request is sent. */
export async function openClient(settings: Settings, agents: Agents, warn: (message: string) => void): Promise<Client> {
  const [{ S3 }, { NodeHttpHandler }] = await Promise.all([
    import('@aws-sdk/client-s3'),
    import('@smithy/node-http-handler'),
  ]);
  const silent = (): void => undefined;
  const shared = {
    ...agents,
    connectionTimeout: settings.connectTimeout,
    logger: { debug: silent, info: silent, warn: (message: unknown) => warn(String(message)), error: silent },
  };
  const handler = new NodeHttpHandler({ ...shared, socketTimeout: settings.idleTimeout });
  // Whoever reads an object may take his time over a chunk: from the first byte on, S3Storage watches it itself.
  const reading = new NodeHttpHandler({
    ...shared,
    socketTimeout: 0,
    requestTimeout: settings.idleTimeout,
    throwOnRequestTimeout: true,
  });
  const { credentials, checksums } = settings;
  const config: S3ClientConfig = {
    forcePathStyle: settings.pathStyle,
    // The stack around the storage tries again; a client that does so too would multiply the attempts.
    maxAttempts: 1,
    // With it each upload of 2 MiB or more would get a connection of its own.
    expectContinueHeader: false,
    requestChecksumCalculation: checksums === 'crc32' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
    responseChecksumValidation: checksums === 'crc32' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
    requestHandler: oneOf(reading, handler),
    ...(settings.region === undefined ? {} : { region: settings.region }),
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    ...(settings.profile === undefined ? {} : { profile: settings.profile }),
    ...(credentials === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: credentials.secretAccessKey.reveal(),
            ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken.reveal() }),
          },
        }),
  };
  const s3 = new S3(config);
  if (checksums === 'md5') await addContentMd5(s3, settings);
  if (!settings.signPayload) leaveBytesUnsigned(s3);
  return {
    s3,
    close: () => {
      s3.destroy();
      agents.httpAgent.destroy();
      agents.httpsAgent.destroy();
    },
  };
}

/** Objects are read by one handler, all else goes by the other. */
function oneOf(reading: NodeHttpHandler, other: NodeHttpHandler): NonNullable<S3ClientConfig['requestHandler']> {
  return {
    metadata: other.metadata,
    handle: (...[request, options]: Parameters<NodeHttpHandler['handle']>) =>
      (request.query?.['x-id'] === 'GetObject' ? reading : other).handle(inSlices(request, options), options),
    // The SDK would set timeouts of its own.
    updateHttpClientConfig: () => undefined,
    httpHandlerConfigs: () => ({}),
  };
}

/**
 * The SDK would hash the bytes of every upload on the thread of the event loop, for the signature alone.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
function leaveBytesUnsigned(s3: S3): void {
  const commands = new Set(['PutObjectCommand', 'UploadPartCommand']);
  s3.middlewareStack.add(
    (next, context) => async (args) => {
      const { headers } = args.request as Request;
      if (commands.has(context.commandName ?? '')) headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'pgarkUnsignedPayload', priority: 'low' },
  );
}

/**
 * S3 demands a checksum on deletes, and on uploads with Object Lock. `Content-MD5` is the one that every service knows; the SDK itself
 * has given it up for CRC32.
 */
async function addContentMd5(s3: S3, settings: Settings): Promise<void> {
  const { createHash } = await import('node:crypto');
  const commands = new Set(['DeleteObjectsCommand', 'PutObjectRetentionCommand']);
  if (settings.objectLock !== undefined)
    for (const name of ['PutObjectCommand', 'UploadPartCommand']) commands.add(name);
  s3.middlewareStack.add(
    (next, context) => async (args) => {
      const { headers, body } = args.request as Request;
      if (commands.has(context.commandName ?? '') && (typeof body === 'string' || body instanceof Uint8Array)) {
        for (const name of Object.keys(headers)) {
          if (/^x-amz-(?:sdk-)?checksum-/i.test(name)) delete headers[name];
        }
        headers['content-md5'] = createHash('md5').update(body).digest('base64');
      }
      return next(args);
    },
    { step: 'build', name: 'pgarkContentMd5', priority: 'low' },
  );
}
