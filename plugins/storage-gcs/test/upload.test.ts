import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isArchiveError } from '@pgark/sdk';
import { expect, onTestFinished, test } from 'vitest';
import { answer, body, openOn, refuse, scriptedServer, type Seen } from './scripted-server.ts';

const KIB = 1024;
const CHUNK = 256 * KIB;
const UPLOAD = '/upload/storage/v1/b/archive/o';
const SESSION = '/upload/session/1';

const md5Of = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('base64');

/** The two parts of a multipart upload. */
function partsOf(seen: Seen | undefined): { resource: unknown; content: Buffer } {
  const boundary = /boundary=(\w+)/.exec(seen?.headers['content-type'] ?? '')?.[1] ?? '';
  const bytes = seen?.body ?? Buffer.alloc(0);
  const bodyAt = (from: number): number => bytes.indexOf('\r\n\r\n', from) + 4;
  const second = bytes.indexOf(`\r\n--${boundary}\r\n`);
  const end = bytes.lastIndexOf(`\r\n--${boundary}--\r\n`);
  return {
    resource: JSON.parse(bytes.subarray(bodyAt(0), second).toString()),
    content: bytes.subarray(bodyAt(second), end),
  };
}

/** Takes resumable uploads as the real server does; `persist` says how many of the bytes of a chunk it keeps. */
function resumable(persist = (length: number): number => length): Parameters<typeof scriptedServer>[0] {
  let received = Buffer.alloc(0);
  return (response, seen) => {
    if (seen.method === 'POST') {
      // As behind a private endpoint: the server names itself by another address.
      answer(response, 200, {}, { location: `https://storage.example.com${SESSION}?upload_id=1` });
    } else if (seen.method === 'DELETE') {
      response.writeHead(499).end();
    } else {
      const [, start, end, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(seen.headers['content-range'] ?? '') ?? [];
      expect(Number(start)).toBe(received.byteLength);
      expect(seen.body.byteLength).toBe(Number(end) - Number(start) + 1);
      received = Buffer.concat([received, seen.body.subarray(0, persist(seen.body.byteLength))]);
      if (String(received.byteLength) === total) answer(response, 200, { size: total });
      else response.writeHead(308, { range: `bytes=0-${received.byteLength - 1}` }).end();
    }
  };
}

test('H-56 a WAL segment is one request, also when encryption has made it longer and its size is not known', async () => {
  const server = await scriptedServer((response, seen) => {
    answer(response, 200, { size: String(partsOf(seen).content.byteLength) });
  });
  const segment = randomBytes(16 * 1024 * KIB + 5000);
  await openOn(server).put('wal/segment', body(...split(segment, 65_536)), { ifAbsent: true });
  expect(server.lines).toEqual([`POST ${UPLOAD}`]);
  const [seen] = server.requests;
  expect(seen?.query).toEqual({ uploadType: 'multipart', ifGenerationMatch: '0' });
  const { resource, content } = partsOf(seen);
  expect(content.equals(segment)).toBe(true);
  expect(resource).toEqual({
    name: 'wal/segment',
    contentType: 'application/octet-stream',
    md5Hash: md5Of(segment),
  });
});

test('options of new objects, metadata and the project that pays are sent', async () => {
  const server = await scriptedServer((response) => answer(response, 200, { size: '1' }));
  const kmsKeyName = 'projects/p/locations/l/keyRings/r/cryptoKeys/k';
  const storage = openOn(server, { storageClass: 'NEARLINE', kmsKeyName, projectId: 'payer', retention: 'locked' });
  expect(storage.capabilities.retention).toBe(true);
  const retainUntil = new Date(Date.now() + 60_000);
  const metadata = { name: '{{projectId}} stays as it is' };
  await storage.put('key', body('x'), { ifAbsent: false, metadata, retainUntil });
  await storage.put('past', body('x'), { ifAbsent: true, retainUntil: new Date(0) });
  const [first, second] = server.requests as [Seen, Seen];
  expect(first.query).toEqual({ uploadType: 'multipart', userProject: 'payer', kmsKeyName });
  expect(partsOf(first).resource).toMatchObject({
    storageClass: 'NEARLINE',
    metadata,
    retention: { mode: 'Locked', retainUntilTime: retainUntil.toISOString() },
  });
  expect(partsOf(second).resource).not.toHaveProperty('retention');
});

test('without the option retention is neither declared nor sent', async () => {
  const server = await scriptedServer((response) => answer(response, 200, { size: '1' }));
  const storage = openOn(server);
  expect(storage.capabilities).toEqual({ conditionalPut: true, retention: false, metadata: true });
  await storage.put('key', body('x'), { ifAbsent: true, retainUntil: new Date(Date.now() + 60_000) });
  expect(partsOf(server.requests[0]).resource).not.toHaveProperty('retention');
});

test.each([
  { length: CHUNK, requests: 1 },
  { length: CHUNK + 1, requests: 3 },
  { length: 3 * CHUNK, requests: 4 },
])('an object of $length bytes in chunks of 256 KiB takes $requests requests', async ({ length, requests }) => {
  const bytes = randomBytes(length);
  const script = resumable();
  const server = await scriptedServer((response, seen, number) =>
    requests === 1 ? answer(response, 200, { size: String(length) }) : script(response, seen, number),
  );
  await openOn(server, { chunkSize: CHUNK }).put('key', body(...split(bytes, 100_000)), { ifAbsent: true });
  expect(server.requests).toHaveLength(requests);
  if (requests === 1) return;
  const [begin, ...parts] = server.requests as [Seen, ...Seen[]];
  expect(begin.query).toEqual({ uploadType: 'resumable', ifGenerationMatch: '0' });
  expect(Buffer.concat(parts.map((part) => part.body)).equals(bytes)).toBe(true);
  expect(parts.every((part) => part.path === SESSION && part.query['upload_id'] === '1')).toBe(true);
  expect(parts.map((part) => part.headers['x-goog-hash'])).toEqual([
    ...parts.slice(1).map(() => undefined),
    `md5=${md5Of(bytes)}`,
  ]);
});

test('bytes of a chunk that the server did not keep are sent again', async () => {
  const bytes = randomBytes(2 * CHUNK + 10);
  const server = await scriptedServer(resumable((length) => (length > 100 * KIB ? length - 50 * KIB : length)));
  await openOn(server, { chunkSize: CHUNK }).put('key', body(bytes), { ifAbsent: true });
  const ranges = server.requests.slice(1).map(({ headers }) => headers['content-range']);
  expect(ranges).toContain(`bytes ${CHUNK - 50 * KIB}-${CHUNK - 1}/*`);
});

test('a server that keeps nothing is an error, not a loop', async () => {
  const server = await scriptedServer(resumable(() => 0));
  const put = openOn(server, { chunkSize: CHUNK }).put('key', body(randomBytes(2 * CHUNK)), { ifAbsent: true });
  await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(server.lines).toEqual([`POST ${UPLOAD}`, `PUT ${SESSION}`, `DELETE ${SESSION}`]);
});

test('H-56 memory is bounded: while the server takes its time, at most two chunks are taken from the body', async () => {
  let chunkArrived = (): void => undefined;
  const arrived = new Promise<void>((resolve) => (chunkArrived = resolve));
  let goOn = (): void => undefined;
  const wait = new Promise<void>((resolve) => (goOn = resolve));
  const script = resumable();
  const server = await scriptedServer(async (response, seen, number) => {
    if (number === 2) {
      chunkArrived();
      await wait;
    }
    await script(response, seen, number);
  });
  let taken = 0;
  async function* source(): AsyncGenerator<Uint8Array, void, undefined> {
    for (; taken < 20 * CHUNK; taken += 64 * KIB) yield Buffer.alloc(64 * KIB, taken / KIB / 64);
  }
  const put = openOn(server, { chunkSize: CHUNK }).put('key', source(), { ifAbsent: true });
  await arrived;
  await sleep(200);
  expect(taken).toBeGreaterThanOrEqual(2 * CHUNK);
  expect(taken).toBeLessThanOrEqual(2 * CHUNK + 64 * KIB);
  goOn();
  await put;
  expect(server.requests).toHaveLength(21);
});

test('STOR-02 a body that throws in the middle gives the upload up, and its error comes back as it was thrown', async () => {
  const server = await scriptedServer(resumable());
  const thrown = new Error('the source failed');
  async function* source(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.alloc(2 * CHUNK + 1);
    await sleep(50);
    throw thrown;
  }
  const put = openOn(server, { chunkSize: CHUNK }).put('key', source(), { ifAbsent: true });
  expect(await put.catch((error: unknown) => error)).toBe(thrown);
  expect(server.lines[0]).toBe(`POST ${UPLOAD}`);
  expect(server.lines.at(-1)).toBe(`DELETE ${SESSION}`);
  expect(server.requests.some(({ headers }) => /\/\d+$/.test(headers['content-range'] ?? ''))).toBe(false);
});

test('a failing request ends the put at once, although the body is silent, and gives the upload up', async () => {
  const server = await scriptedServer((response, seen, number) =>
    seen.method === 'PUT' ? refuse(response, 503, 'try later') : resumable()(response, seen, number),
  );
  let ended = false;
  async function* source(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.alloc(CHUNK + 1);
    await new Promise(() => undefined);
  }
  const silent = source();
  const watched = {
    [Symbol.asyncIterator]: () => ({
      next: () => silent.next(),
      return: async (): Promise<IteratorResult<Uint8Array>> => {
        ended = true;
        return { done: true, value: undefined };
      },
    }),
  };
  const put = openOn(server, { chunkSize: CHUNK }).put('key', watched, { ifAbsent: true });
  await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
  expect(ended).toBe(true);
  expect(server.lines).toEqual([`POST ${UPLOAD}`, `PUT ${SESSION}`, `DELETE ${SESSION}`]);
});

test('STOR-04 an abort in the middle of an upload ends it at once and gives it up', async () => {
  const abort = new AbortController();
  const server = await scriptedServer((response, seen, number) => {
    if (seen.method !== 'PUT') return resumable()(response, seen, number);
    abort.abort(); // and no answer
  });
  const started = Date.now();
  const put = openOn(server, { chunkSize: CHUNK }).put('key', body(Buffer.alloc(3 * CHUNK)), {
    ifAbsent: true,
    signal: abort.signal,
  });
  await expect(put).rejects.toMatchObject({ code: 'ABORTED' });
  expect(Date.now() - started).toBeLessThan(8000);
  expect(server.lines).toEqual([`POST ${UPLOAD}`, `PUT ${SESSION}`, `DELETE ${SESSION}`]);
});

test('STOR-04 an abort while the server makes the object waits for what came of it', async () => {
  const abort = new AbortController();
  const server = await scriptedServer(async (response) => {
    abort.abort();
    await sleep(300);
    answer(response, 200, { size: '1' });
  });
  // It is there, so the put has succeeded: to say ABORTED would be a lie.
  await openOn(server).put('key', body('x'), { ifAbsent: true, signal: abort.signal });
  expect(abort.signal.aborted).toBe(true);
});

test('STOR-04 but it does not wait for ever', { timeout: 15_000 }, async () => {
  const abort = new AbortController();
  const server = await scriptedServer(() => abort.abort());
  const storage = openOn(server, { timeout: 60 });
  const put = storage.put('key', body('x'), { ifAbsent: true, signal: abort.signal });
  await expect(put).rejects.toMatchObject({ code: 'ABORTED' });
  expect(server.requests).toHaveLength(1);
});

test('an object that the storage says has another size is an error', async () => {
  const server = await scriptedServer((response) => answer(response, 200, { size: '2' }));
  const put = openOn(server).put('key', body('x'), { ifAbsent: true });
  await expect(put).rejects.toMatchObject({ code: 'STORAGE_CORRUPT', message: expect.stringContaining('2 bytes') });
});

test.each([
  [412, 'At least one of the pre-conditions you specified did not hold.', 'conditionNotMet'],
  [403, 'writer@p does not have storage.objects.delete access to the Google Cloud Storage object.', 'forbidden'],
  [403, "Object 'archive/key' is subject to bucket's retention policy and cannot be overwritten", 'forbidden'],
])('STOR-05 %i "%s" is STORAGE_EXISTS with ifAbsent, and not without', async (status, message, reason) => {
  const server = await scriptedServer((response) => refuse(response, status, message, reason));
  const storage = openOn(server);
  onTestFinished(() => expect(server.requests).toHaveLength(2));
  await expect(storage.put('key', body('x'), { ifAbsent: true })).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
  const error: unknown = await storage.put('key', body('x'), { ifAbsent: false }).catch((thrown: unknown) => thrown);
  expect(isArchiveError(error) && error.code).toBe(status === 403 ? 'STORAGE_DENIED' : 'STORAGE_MISCONFIGURED');
});

function split(bytes: Uint8Array, length: number): Uint8Array[] {
  const count = Math.ceil(bytes.byteLength / length);
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * length, (index + 1) * length));
}
