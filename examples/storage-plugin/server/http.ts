/**
 * A depot over HTTP:
 *
 *   PUT    /BUCKET/objects/KEY            stores; `If-None-Match: *` only where there is nothing; `Content-Digest` is compared first
 *   POST   /BUCKET/uploads                begins an upload of several requests, answers with its id
 *   PUT    /BUCKET/uploads/ID?offset=N    bytes of it from N on
 *   PUT    /BUCKET/objects/KEY?upload=ID  makes the object of it, as above
 *   DELETE /BUCKET/uploads/ID             gives it up
 *   GET    /BUCKET/objects/KEY            reads, with `Range` a part; HEAD for size and time
 *   DELETE /BUCKET/objects/KEY
 *   GET    /BUCKET/objects?prefix=&after=&limit=   a page of the listing, as JSON
 *
 * Every request needs `Authorization: Bearer TOKEN`. A refusal is told by its status and by the header `Depot-Error`.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Refusal, type Depot, type StoredObject } from './depot.ts';

/** For each token the buckets that it opens. */
export type Tokens = ReadonlyMap<string, readonly string[]>;

const PAGE = 1000;

interface Call {
  readonly depot: Depot;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly bucket: string;
  /** `objects` or `uploads`. */
  readonly what: string;
  /** A key, or the id of an upload; empty for all of them. */
  readonly name: string;
  readonly query: URLSearchParams;
}

export function createDepotServer(depot: Depot, tokens: Tokens): Server {
  return createServer((request, response) => {
    answer(depot, tokens, request, response).catch((error: unknown) => refuse(request, response, error));
  });
}

async function answer(depot: Depot, tokens: Tokens, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path = '', query = ''] = (request.url ?? '').split('?');
  const [, bucket = '', what = '', ...name] = path.split('/').map(decodeURIComponent);
  const opened = tokens.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '');
  if (opened === undefined) throw new Refusal(401, 'unknown-token');
  if (!opened.includes(bucket) && !opened.includes('*')) throw new Refusal(403, 'forbidden');
  const call = { depot, request, response, bucket, what, name: name.join('/'), query: new URLSearchParams(query) };
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const route = `${method} ${what}${call.name === '' ? '' : '/'}`;
  const handle = ROUTES[route];
  if (handle === undefined) throw new Refusal(405, 'no-such-request');
  await handle(call);
}

const ROUTES: Readonly<Record<string, (call: Call) => Promise<void>>> = {
  'GET objects': list,
  'GET objects/': read,
  'PUT objects/': store,
  'DELETE objects/': async ({ depot, bucket, name, response }) => {
    await depot.remove(bucket, name);
    response.writeHead(204).end();
  },
  'POST uploads': async ({ depot, bucket, response }) => {
    response.writeHead(201, { 'content-type': 'text/plain' }).end(await depot.begin(bucket));
  },
  'PUT uploads/': async ({ depot, bucket, name, query, request, response }) => {
    const offset = Number(query.get('offset'));
    if (!Number.isSafeInteger(offset) || offset < 0) throw new Refusal(400, 'no-offset');
    await depot.write(bucket, name, offset, bodyOf(request));
    response.writeHead(204).end();
  },
  'DELETE uploads/': async ({ depot, name, response }) => {
    await depot.abandon(name);
    response.writeHead(204).end();
  },
};

async function store({ depot, bucket, name, query, request, response }: Call): Promise<void> {
  const digest = digestOf(request.headers['content-digest']);
  const ifAbsent = request.headers['if-none-match'] === '*';
  const upload = query.get('upload');
  const id = upload ?? (await depot.begin(bucket));
  try {
    // A body that is cut short throws here, so that nothing comes of it.
    if (upload === null) await depot.write(bucket, id, 0, bodyOf(request));
    const created = await depot.publish(bucket, name, { id, digest, ifAbsent });
    response.writeHead(created ? 201 : 200, { etag: `"${digest}"` }).end();
  } finally {
    if (upload === null) await depot.abandon(id);
  }
}

async function read({ depot, bucket, name, request, response }: Call): Promise<void> {
  const object = depot.look(bucket, name);
  const { size } = object;
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = Number(range?.[1] ?? 0);
  const end = range?.[2] === undefined || range[2] === '' ? size : Math.min(Number(range[2]) + 1, size);
  const headers = {
    etag: `"${object.digest}"`,
    'last-modified': new Date(object.modified).toUTCString(),
    'content-length': end - start,
  };
  if (range !== null && (start >= size || end <= start)) {
    response.writeHead(416, { 'content-range': `bytes */${size}`, 'depot-error': 'range' }).end();
    return;
  }
  if (range !== null) response.writeHead(206, { ...headers, 'content-range': `bytes ${start}-${end - 1}/${size}` });
  else response.writeHead(200, headers);
  if (request.method === 'HEAD' || end === start) {
    response.end();
    return;
  }
  const file = await depot.open(object);
  await pipeline(file.createReadStream({ start, end: end - 1 }), response);
}

async function list({ depot, bucket, query, response }: Call): Promise<void> {
  const limit = Math.min(PAGE, Number(query.get('limit') ?? PAGE));
  const found = depot.list(bucket, query.get('prefix') ?? '', query.get('after') ?? '', limit);
  const shown = found.map(({ key, size, modified }: StoredObject) => ({ key, size, modified }));
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ objects: shown, more: found.length === limit }));
}

/** The body. Who leaves it early may still answer. */
function bodyOf(request: IncomingMessage): AsyncIterable<Uint8Array> {
  return request.iterator({ destroyOnReturn: false });
}

/** The SHA-256 in `Content-Digest: sha-256=:BASE64:` (RFC 9530), as hex. */
function digestOf(header: string | string[] | undefined): string {
  const found = /(?:^|[ ,])sha-256=:([A-Za-z0-9+/=]+):/.exec(String(header ?? ''))?.[1];
  if (found === undefined) throw new Refusal(400, 'no-digest');
  return Buffer.from(found, 'base64').toString('hex');
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent || request.socket.destroyed) {
    response.destroy(); // the client has gone, or sees by the length that the rest is missing
    return;
  }
  const known = error instanceof Refusal ? error : error instanceof URIError ? new Refusal(400, 'no-url') : undefined;
  if (known === undefined) console.error(error);
  const { status, reason, digest } = known ?? new Refusal(isFull(error) ? 507 : 500, isFull(error) ? 'full' : 'failed');
  // What is left of the body is read, so that the client sees the answer.
  request.resume();
  response.writeHead(status, { 'depot-error': reason, ...(digest === undefined ? {} : { etag: `"${digest}"` }) }).end();
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(String((error as { code?: unknown } | undefined)?.code));
}
