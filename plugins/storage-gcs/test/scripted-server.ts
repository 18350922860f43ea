import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GcsStorage, type GcsStorageOptions } from '@pgark/storage-gcs';
import { onTestFinished } from 'vitest';

/** One request as the server got it, with its whole body. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface ScriptedServer {
  readonly endpoint: string;
  readonly requests: readonly Seen[];
  /** `POST /upload/storage/v1/b/archive/o`, one for each request. */
  readonly lines: readonly string[];
}

/** A server that answers as the script of the test says; a script that does nothing leaves the client without an answer. */
export async function scriptedServer(
  script: (response: ServerResponse, seen: Seen, number: number) => void | Promise<void>,
): Promise<ScriptedServer> {
  const requests: Seen[] = [];
  const server = createServer((request, response) => {
    const serve = async (): Promise<void> => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const url = new URL(request.url ?? '', 'http://server');
      const seen = {
        method: request.method ?? '',
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        headers: request.headers,
        body: Buffer.concat(pieces),
      };
      requests.push(seen);
      await script(response, seen, requests.length);
    };
    // A client that goes away in the middle of its request is what some tests are about.
    serve().catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    get lines() {
      return requests.map(({ method, path }) => `${method} ${path}`);
    },
  };
}

/** A storage on the server, closed at the end of the test. */
export function openOn(server: { readonly endpoint: string }, options: Partial<GcsStorageOptions> = {}): GcsStorage {
  const storage = new GcsStorage(
    { bucket: 'archive', endpoint: server.endpoint, anonymous: true, timeout: 10, ...options },
    { directory: '/' },
  );
  onTestFinished(() => storage.close());
  return storage;
}

export function answer(response: ServerResponse, status: number, body: unknown = {}, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** A refusal in the form of the JSON API. */
export function refuse(response: ServerResponse, status: number, message: string, reason?: string): void {
  const errors = reason === undefined ? [] : [{ message, domain: 'global', reason }];
  answer(response, status, { error: { code: status, message, errors } });
}

export async function* body(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

export async function read(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of chunks) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The five calls that go to the server, each on an object of its own storage. */
export const CALLS: Readonly<Record<string, (storage: GcsStorage) => Promise<unknown>>> = {
  put: (storage) => storage.put('key', body('x'), { ifAbsent: true }),
  get: (storage) => read(storage.get('key')),
  stat: (storage) => storage.stat('key'),
  list: async (storage) => {
    for await (const entry of storage.list('')) return entry;
  },
  remove: (storage) => storage.remove(['key']),
};
