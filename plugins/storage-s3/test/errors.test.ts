/** What the answers of S3 mean. The server is a script: no real one can be made to fail in all these ways. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { Secret, type ArchiveError, type ErrorCode } from '@pgark/sdk';
import { expect, test } from 'vitest';
import { failure, openStorage, randomBody, readBack } from './helpers.ts';

interface Answer {
  readonly status: number;
  readonly code?: string;
  readonly message?: string;
  /** More of the body of the error. */
  readonly more?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers each request with what `script` says of it; an empty listing is given where it says nothing. */
async function scripted(
  script: (method: string, url: URL) => Answer | undefined,
): Promise<{ readonly port: number; readonly close: () => Promise<void>; readonly methods: string[] }> {
  const methods: string[] = [];
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://x');
      methods.push(request.method ?? '');
      const answer = script(request.method ?? '', url);
      if (answer === undefined) {
        response.end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>');
        return;
      }
      const { status, code, message = 'the message', more = '', headers = {} } = answer;
      response.writeHead(status, { 'content-type': 'application/xml', ...headers });
      const body = `<Error><Code>${code}</Code><Message>${message}</Message>${more}</Error>`;
      response.end(request.method === 'HEAD' || code === undefined ? '' : body);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { port: (server.address() as AddressInfo).port, close, methods };
}

async function answerTo(
  answer: Answer,
  call: 'put' | 'get' | 'list' | 'remove' | 'stat' = 'put',
): Promise<{ readonly error: ArchiveError; readonly methods: readonly string[] }> {
  const { port, close, methods } = await scripted(() => answer);
  const storage = openStorage(port, { sessionToken: new Secret('the-session-token') });
  const calls = {
    put: () => storage.put('key', randomBody(10).body, { ifAbsent: true }),
    get: () => readBack(storage, 'key'),
    list: () => storage.list('')[Symbol.asyncIterator]().next(),
    remove: () => storage.remove(['key']),
    stat: () => storage.stat('key'),
  };
  const error = await failure(calls[call]());
  await storage.close();
  await close();
  return { error, methods };
}

test.each<[string, number, ErrorCode]>([
  ['NoSuchBucket', 404, 'STORAGE_MISCONFIGURED'],
  ['InvalidBucketName', 400, 'STORAGE_MISCONFIGURED'],
  ['PermanentRedirect', 301, 'STORAGE_MISCONFIGURED'],
  ['AuthorizationHeaderMalformed', 400, 'STORAGE_MISCONFIGURED'],
  ['NotImplemented', 501, 'STORAGE_MISCONFIGURED'],
  ['AccessDenied', 403, 'STORAGE_DENIED'],
  ['InvalidAccessKeyId', 403, 'STORAGE_DENIED'],
  ['SignatureDoesNotMatch', 403, 'STORAGE_DENIED'],
  ['ExpiredToken', 400, 'STORAGE_DENIED'],
  ['UnheardOfRefusal', 403, 'STORAGE_DENIED'],
  ['PreconditionFailed', 412, 'STORAGE_EXISTS'],
  ['SlowDown', 503, 'STORAGE_UNAVAILABLE'],
  ['InternalError', 500, 'STORAGE_UNAVAILABLE'],
  ['RequestTimeout', 400, 'STORAGE_UNAVAILABLE'],
  ['RequestTimeTooSkewed', 403, 'STORAGE_UNAVAILABLE'],
  ['BadDigest', 400, 'STORAGE_UNAVAILABLE'],
  ['UnheardOfFault', 502, 'STORAGE_UNAVAILABLE'],
  ['TooManyRequests', 429, 'STORAGE_UNAVAILABLE'],
  ['QuotaExceeded', 403, 'STORAGE_FULL'],
  ['XMinioStorageFull', 507, 'STORAGE_FULL'],
  ['EntityTooLarge', 400, 'STORAGE_FULL'],
  ['KeyTooLongError', 400, 'STORAGE_INVALID_KEY'],
])('%s (%i) is %s', async (code, status, expected) => {
  const { error, methods } = await answerTo({ status, code });
  expect(error.code).toBe(expected);
  expect(error.message).toMatch(/\bkey\b/);
  if (expected !== 'STORAGE_EXISTS')
    expect(error.message).toContain(`storing key failed: the storage answered ${code}`);
  // The client does not try again.
  expect(methods).toEqual(['PUT']);
  if (code === 'EntityTooLarge') expect(error.retriable).toBe(false);
});

test('H-50 404 is a missing key only where S3 says so', async () => {
  expect((await answerTo({ status: 404, code: 'NoSuchKey' }, 'get')).error.code).toBe('STORAGE_NOT_FOUND');
  expect((await answerTo({ status: 404, code: 'NoSuchBucket' }, 'get')).error.code).toBe('STORAGE_MISCONFIGURED');
  expect((await answerTo({ status: 404, code: 'NoSuchBucket' }, 'stat')).error.code).toBe('STORAGE_MISCONFIGURED');
  expect((await answerTo({ status: 404, code: 'PageOfAProxy' }, 'get')).error.code).toBe('STORAGE_MISCONFIGURED');
  expect((await answerTo({ status: 404, code: 'PageOfAProxy' }, 'list')).error.code).toBe('STORAGE_MISCONFIGURED');
});

test('H-50 an answer to HEAD has no code: the bucket is asked', async () => {
  const stat = async (head: number, list?: Answer): Promise<string> => {
    const { port, close, methods } = await scripted((method) => (method === 'HEAD' ? { status: head } : list));
    const storage = openStorage(port);
    const { code } = await failure(storage.stat('key'));
    expect(methods).toEqual(head < 500 ? ['HEAD', 'GET'] : ['HEAD']);
    await storage.close();
    await close();
    return code;
  };
  expect(await stat(404)).toBe('STORAGE_NOT_FOUND');
  expect(await stat(404, { status: 404, code: 'NoSuchBucket' })).toBe('STORAGE_MISCONFIGURED');
  expect(await stat(404, { status: 403, code: 'AccessDenied' })).toBe('STORAGE_DENIED');
  expect(await stat(404, { status: 503, code: 'SlowDown' })).toBe('STORAGE_UNAVAILABLE');
  expect(await stat(400, { status: 400, code: 'ExpiredToken' })).toBe('STORAGE_DENIED');
  expect(await stat(403)).toBe('STORAGE_DENIED');
  expect(await stat(500)).toBe('STORAGE_UNAVAILABLE');
});

test('409 on an upload is a key that is taken, if it is there, and may pass otherwise', async () => {
  const put = async (head: Answer | undefined): Promise<string> => {
    const { port, close } = await scripted((method) =>
      method === 'PUT' ? { status: 409, code: 'ConditionalRequestConflict' } : method === 'HEAD' ? head : undefined,
    );
    const storage = openStorage(port);
    const { code } = await failure(storage.put('key', randomBody(10).body, { ifAbsent: true }));
    await storage.close();
    await close();
    return code;
  };
  expect(await put({ status: 200, headers: { 'content-length': '10' } })).toBe('STORAGE_EXISTS');
  expect(await put({ status: 404 })).toBe('STORAGE_UNAVAILABLE');
});

test('a bucket in another region is told with its region', async () => {
  const headers = { 'x-amz-bucket-region': 'eu-central-1' };
  const { error } = await answerTo({ status: 301, code: 'PermanentRedirect', headers });
  expect(error.hint).toContain('eu-central-1');
});

test('one key of many that cannot be removed fails with its code', async () => {
  const answer = (code: string): string =>
    `<DeleteResult><Error><Key>key</Key><Code>${code}</Code><Message>no</Message></Error></DeleteResult>`;
  for (const [code, expected] of [
    ['AccessDenied', 'STORAGE_DENIED'],
    ['InternalError', 'STORAGE_UNAVAILABLE'],
  ] as const) {
    const server = createServer((request, response) => {
      request.resume();
      if (request.method === 'POST') response.end(answer(code));
      else response.writeHead(400).end('<Error><Code>InvalidRequest</Code><Message>no lock</Message></Error>');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const storage = openStorage((server.address() as AddressInfo).port);
    expect((await failure(storage.remove(['key']))).code).toBe(expected);
    await storage.close();
    server.closeAllConnections();
    server.close();
  }
});

test('no error shows a secret, also not that of a wrong signature, which repeats the request', async () => {
  const more =
    '<CanonicalRequest>x-amz-security-token:the-session-token</CanonicalRequest><StringToSign>x</StringToSign>';
  for (const call of ['put', 'get', 'list', 'remove'] as const) {
    const { error } = await answerTo({ status: 403, code: 'SignatureDoesNotMatch', more }, call);
    expect(error.code).toBe('STORAGE_DENIED');
    const shown = inspect(error, { depth: 20, showHidden: true });
    expect(shown).toContain('SignatureDoesNotMatch');
    expect(shown).not.toContain('the-session-token');
    expect(shown).not.toContain('pgark-test-secret');
  }
});

test('a download that is shorter than announced, or another range, is an error', async () => {
  const serve = async (headers: Readonly<Record<string, string>>, body: string): Promise<number> => {
    const server = createServer((_, response) => {
      response.writeHead(206, headers).end(body);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
    return (server.address() as AddressInfo).port;
  };
  const servers: ReturnType<typeof createServer>[] = [];
  const read = async (port: number): Promise<string> => {
    const storage = openStorage(port);
    const get = async (): Promise<void> => {
      for await (const chunk of storage.get('key', { range: { start: 5, end: 10 } })) expect(chunk).toBeDefined();
    };
    const { code } = await failure(get());
    await storage.close();
    return code;
  };
  expect(await read(await serve({ 'content-range': 'bytes 0-4/20', 'content-length': '5' }, '01234'))).toBe(
    'STORAGE_UNAVAILABLE',
  );
  expect(await read(await serve({ 'content-length': '5' }, '01234'))).toBe('STORAGE_UNAVAILABLE');
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

test('without credentials or region the call says so', async () => {
  const { port, close } = await scripted(() => undefined);
  const { S3Storage } = await import('@pgark/storage-s3');
  const kept = { ...process.env };
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  Object.assign(process.env, {
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_SHARED_CREDENTIALS_FILE: '/nothing',
    AWS_CONFIG_FILE: '/nothing',
  });
  const context = { directory: '/', logger: { debug() {}, info() {}, warn() {}, error() {} } };
  try {
    const unknown = new S3Storage({ bucket: 'archive', endpoint: `http://127.0.0.1:${port}` }, context);
    expect((await failure(unknown.stat('key'))).code).toBe('STORAGE_DENIED');
    await unknown.close();
    const nowhere = new S3Storage({ bucket: 'archive', accessKeyId: 'x', secretAccessKey: new Secret('y') }, context);
    const error = await failure(nowhere.stat('key'));
    expect([error.code, error.hint]).toEqual(['STORAGE_MISCONFIGURED', 'Give "region" in the config.']);
    await nowhere.close();
  } finally {
    process.env = kept;
    await close();
  }
});
