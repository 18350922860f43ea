import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';
import { randomBytes } from 'node:crypto';
import { isArchiveError, Secret, type ArchiveError, type Logger, type Storage } from '@pgark/sdk';
import { S3Storage, type S3StorageOptions } from '@pgark/storage-s3';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { startVersity, type S3Server } from '../../../test/support/s3-server.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';

export const MIB = 1024 * 1024;

/** A storage on the bucket `archive` of a server, or of whatever listens on the port. */
export function openStorage(
  port: number,
  options: Partial<S3StorageOptions> = {},
  logger: Logger = silentLogger,
): S3Storage {
  return new S3Storage(
    {
      bucket: 'archive',
      endpoint: `http://127.0.0.1:${port}`,
      provider: 'minio',
      accessKeyId: 'pgark',
      secretAccessKey: new Secret('pgark-test-secret'),
      ...options,
    },
    { directory: '/', logger },
  );
}

/** A server with the bucket `archive` for the tests of a `describe`, and for each of them a gateway to it. */
export interface Scene {
  readonly server: S3Server;
  readonly gateway: Gateway;
  /** Multipart uploads that were begun, and neither completed nor aborted. */
  uploadsLeft(): Promise<readonly unknown[]>;
}

export function behindGateway(): Scene {
  let server: S3Server;
  let gateway: Gateway;
  beforeAll(async () => {
    server = await startVersity({ buckets: ['archive'] });
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    gateway = await Gateway.listen(server.port);
  });
  afterEach(() => gateway.close());
  return {
    get server() {
      return server;
    },
    get gateway() {
      return gateway;
    },
    uploadsLeft: async () => (await server.admin.listMultipartUploads({ Bucket: 'archive' })).Uploads ?? [],
  };
}

/** A body of so many random bytes in chunks, counted as they are taken. */
export function randomBody(
  bytes: number,
  options: { readonly chunk?: number; readonly onTaken?: (total: number) => void; readonly failAfter?: number } = {},
): { readonly body: AsyncIterable<Uint8Array>; readonly sent: () => Buffer } {
  const { chunk = 256 * 1024, onTaken, failAfter = Infinity } = options;
  const content = randomBytes(bytes);
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let start = 0; start < bytes; start += chunk) {
      if (start >= failAfter) throw new Error('the source failed');
      onTaken?.(Math.min(start + chunk, bytes));
      yield content.subarray(start, start + chunk);
    }
  }
  return { body: chunks(), sent: () => content };
}

export async function readBack(storage: Storage, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const bytes of storage.get(key)) chunks.push(bytes);
  return Buffer.concat(chunks);
}

/** The error that a call fails with, which must be one of pgark. */
export async function failure(promise: Promise<unknown>): Promise<ArchiveError> {
  const error = await promise.then(
    () => new Error('the call did not fail'),
    (reason: unknown) => reason,
  );
  if (!isArchiveError(error)) throw error;
  return error;
}

/** One request that passed the {@link Gateway}. */
export interface Passed {
  /** `UploadPart`, `DeleteObjects`; the method where it is not to be seen. */
  readonly operation: string;
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
}

/** Operations that the SDK does not name in the query, by a parameter that they have. */
const OPERATIONS = [
  ['uploads', 'CreateMultipartUpload'],
  ['list-type', 'ListObjectsV2'],
  ['delete', 'DeleteObjects'],
] as const;

/** Answers of S3 that the {@link Gateway} can give in place of the server's. */
type Refusal = 'NoSuchUpload' | 'ConditionalRequestConflict';

function refuse(outgoing: ServerResponse, code: Refusal): void {
  const answer = `<Error><Code>${code}</Code><Message>so the test wants it</Message></Error>`;
  outgoing.writeHead(code === 'NoSuchUpload' ? 404 : 409, { 'content-type': 'application/xml' }).end(answer);
}

/** Passes HTTP requests on to a server, as they are, and sees them. */
export class Gateway {
  readonly passed: Passed[] = [];
  /** Requests of this operation that are on their way now, and the most there were at once. */
  readonly inFlight = new Map<string, { now: number; most: number }>();
  /** Told of each request before it is passed on; `cut` closes its connection instead, a code of S3 is the answer to it. */
  before: (request: Passed) => Promise<'cut' | 'pass' | Refusal> = async () => 'pass';
  /** Told of each request that was answered, before its answer is passed back; may cut the connection or answer otherwise. */
  after: (request: Passed) => Promise<'cut' | 'pass' | Refusal> = async () => 'pass';
  /** Whether the last byte of each body is changed on the way; `altered` counts how often it was. */
  alterBodies = false;
  altered = 0;
  readonly #server: Server;

  private constructor(target: number) {
    this.#server = createServer((incoming, outgoing) => {
      const query = new URL(incoming.url ?? '/', 'http://x').searchParams;
      const operation = query.get('x-id') ?? OPERATIONS.find(([name]) => query.has(name))?.[1] ?? incoming.method ?? '';
      const passed = { operation, method: incoming.method ?? '', headers: incoming.headers };
      this.passed.push(passed);
      const count = this.inFlight.get(operation) ?? { now: 0, most: 0 };
      this.inFlight.set(operation, count);
      count.now += 1;
      count.most = Math.max(count.most, count.now);
      outgoing.on('close', () => (count.now -= 1));
      void this.before(passed).then((decision) => {
        if (decision === 'cut') return incoming.socket.resetAndDestroy();
        if (decision !== 'pass') {
          incoming.on('end', () => refuse(outgoing, decision));
          return incoming.resume();
        }
        const { method, url: path, headers } = incoming;
        const onward = request({ host: '127.0.0.1', port: target, method, path, headers }, (answer) => {
          void this.after(passed).then((next) => {
            if (next === 'cut') return incoming.socket.resetAndDestroy();
            if (next !== 'pass') {
              answer.resume();
              return refuse(outgoing, next);
            }
            outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
            return answer.pipe(outgoing);
          });
        });
        onward.on('error', () => incoming.socket.destroy());
        outgoing.on('close', () => onward.destroy());
        if (!this.alterBodies) return incoming.pipe(onward);
        return pipeline(
          incoming,
          (body: AsyncIterable<Buffer>) => this.#alteredBody(body),
          onward,
          () => undefined,
        );
      });
    });
  }

  async *#alteredBody(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
    let last: Buffer | undefined;
    for await (const chunk of body) {
      if (last !== undefined) yield last;
      last = chunk;
    }
    if (last === undefined) return;
    this.altered += 1;
    const at = last.byteLength - 1;
    last.writeUInt8(last.readUInt8(at) ^ 1, at);
    yield last;
  }

  static async listen(target: number): Promise<Gateway> {
    const gateway = new Gateway(target);
    gateway.#server.listen(0, '127.0.0.1');
    await once(gateway.#server, 'listening');
    return gateway;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get operations(): readonly string[] {
    return this.passed.map(({ operation }) => operation);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
