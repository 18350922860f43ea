/** The network breaks in the middle of an upload whose body comes only once: it is sent on from where the server says that it has come to. */
import { createHash, randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { PutOptions } from '@pgark/sdk';
import { expect, onTestFinished, test } from 'vitest';
import { storageStack } from '../../../core/src/storage/stack.ts';
import { FAULTS, putThroughOutage, SILENCE } from '../../../test/support/outage.ts';
import { Proxy } from '../../../test/support/proxy.ts';
import { silentLogger } from '../../../test/support/silent-logger.ts';
import { until } from '../../../test/support/until.ts';
import { answer, body, openOn, refuse, scriptedServer, type ScriptedServer, type Seen } from './scripted-server.ts';

const CHUNK = 256 * 1024;
const MIB = 1024 * 1024;
const SESSION = '/upload/session';

const md5Of = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('base64');

/** What a resumable upload has come to on the server, as the real one keeps it. */
interface Upload {
  received: Buffer;
  object: Buffer | undefined;
  sessions: number;
  queries: number;
}

type Fault = (seen: Seen, response: ServerResponse) => 'before' | 'after' | 'answered' | undefined;

/** `fault` loses a request before it took effect, or its answer, or answers itself. */
async function resumable(fault: Fault = () => undefined): Promise<{ server: ScriptedServer; upload: Upload }> {
  const upload: Upload = { received: Buffer.alloc(0), object: undefined, sessions: 0, queries: 0 };
  const server = await scriptedServer((response, seen) => {
    const how = fault(seen, response);
    if (how === 'answered') return;
    if (how === 'before') {
      response.destroy();
      return;
    }
    const reply = take(seen, upload);
    if (how === 'after') response.destroy();
    else reply(response);
  });
  return { server, upload };
}

function take(seen: Seen, upload: Upload): (response: ServerResponse) => void {
  const whole = upload.object;
  const object = { size: String(whole?.byteLength), md5Hash: md5Of(whole ?? Buffer.alloc(0)) };
  if (seen.method === 'GET') {
    return (response) =>
      whole === undefined ? refuse(response, 404, 'No such object', 'notFound') : answer(response, 200, object);
  }
  if (seen.method === 'POST') {
    upload.sessions++;
    return (response) => answer(response, 200, {}, { location: `http://server${SESSION}` });
  }
  if (seen.method === 'DELETE') return (response) => void response.writeHead(499).end();
  const [, start, end, total] = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(seen.headers['content-range'] ?? '') ?? [];
  if (start === undefined) upload.queries++;
  else if (whole === undefined) {
    expect(Number(start)).toBe(upload.received.byteLength);
    expect(seen.body.byteLength).toBe(Number(end) - Number(start) + 1);
    upload.received = Buffer.concat([upload.received, seen.body]);
  }
  if (String(upload.received.byteLength) === total) {
    upload.object = upload.received;
    const size = { size: total };
    return (response) => answer(response, 200, size);
  }
  const { byteLength } = upload.received;
  const range = byteLength === 0 ? {} : { range: `bytes=0-${byteLength - 1}` };
  return (response) => void response.writeHead(308, range).end();
}

test.each(FAULTS)(
  'STOR-18 a body that comes once arrives whole through an outage (%s)',
  async (fault) => {
    const { server, upload } = await resumable();
    const proxy = await Proxy.listen({ port: Number(new URL(server.endpoint).port) });
    onTestFinished(() => proxy.close());
    const limit = fault === 'silence' ? { timeout: SILENCE / 1000 } : {};
    const storage = openOn({ endpoint: `http://127.0.0.1:${proxy.port}` }, { chunkSize: 4 * CHUNK, ...limit });
    const outage = await putThroughOutage(storage, proxy, 'key', fault, { bytes: 24 * MIB, after: 12 * MIB });
    expect(outage.connections).toBeGreaterThan(0);
    expect(outage.retries.filter(({ what }) => /^put key: chunk at \d+$/.test(what)).length).toBeGreaterThan(0);
    // One on its way, one that is filled.
    if (fault !== 'cut') expect(outage.taken).toBeLessThanOrEqual(3 * MIB);
    expect(upload.object?.equals(outage.content)).toBe(true);
    expect(upload.sessions).toBe(1);
  },
  60_000,
);

/** Loses the n-th request of a method, or its answer. */
const losing = (method: string, number: number, when: 'before' | 'after'): Fault & { lost: () => number } => {
  let count = 0;
  const fault: Fault = (seen) => (seen.method === method && ++count === number ? when : undefined);
  return Object.assign(fault, { lost: () => Math.floor(count / number) });
};

test.each(
  (['before', 'after'] as const).flatMap((when) =>
    [
      ['POST', 1, 'begin'],
      ['PUT', 1, 'first chunk'],
      ['PUT', 2, 'second chunk'],
      ['PUT', 3, 'last chunk'],
    ].map(([method, number, name]) => [name, when, method, number] as [string, typeof when, string, number]),
  ),
)('STOR-18 the %s is lost %s it took effect', async (name, when, method, number) => {
  const fault = losing(method, number, when);
  const { server, upload } = await resumable(fault);
  const stack = storageStack(openOn(server, { chunkSize: CHUNK }), { logger: silentLogger, retry: { firstDelay: 1 } });
  const content = randomBytes(2 * CHUNK + 1000);
  await stack.put('key', body(content), { ifAbsent: true });
  expect(fault.lost()).toBeGreaterThan(0);
  expect(upload.object?.equals(content)).toBe(true);
  if (name !== 'begin') expect(upload.queries).toBeGreaterThan(0);
});

test('STOR-18 a session that is over when its last answer was lost: the object tells whose it is', async () => {
  for (const whose of ['ours', 'theirs', 'none'] as const) {
    const content = randomBytes(CHUNK + 10);
    const objects = { ours: content, theirs: randomBytes(CHUNK + 10), none: undefined };
    let lost = 0;
    let looked = 0;
    const { server, upload } = await resumable((seen, response) => {
      const range = seen.headers['content-range'] ?? '';
      if (seen.method === 'GET') looked++;
      if (seen.method !== 'PUT' || !/\/\d+$/.test(range)) return undefined;
      if (++lost === 1) {
        upload.object = objects[whose];
        return 'before';
      }
      refuse(response, 404, 'Not Found', 'notFound');
      return 'answered';
    });
    const stack = storageStack(openOn(server, { chunkSize: CHUNK }), {
      logger: silentLogger,
      retry: { firstDelay: 1 },
    });
    const put = stack.put('key', body(content), { ifAbsent: true });
    if (whose === 'ours') await put;
    else {
      const code = whose === 'theirs' ? 'STORAGE_EXISTS' : 'STORAGE_UNAVAILABLE';
      await expect(put, whose).rejects.toMatchObject({ code });
    }
    // Where there is none, the chunk is sent again, and after the answer to that nobody may have been quicker either.
    expect([lost >= 2, looked], whose).toEqual([true, whose === 'none' ? 2 : 1]);
  }
});

test.each<['ours' | 'theirs', string, number]>([
  ['ours', 'the repeated chunk', 412],
  ['ours', 'the repeated chunk', 404],
  ['ours', 'the question after it', 412],
  ['theirs', 'the repeated chunk', 412],
  ['theirs', 'the repeated chunk', 404],
  ['theirs', 'the question after it', 412],
])('STOR-18 the last chunk takes effect after it was sent again: the object is %s (%s gets %i)', async (...row) => {
  const [whose, moment, status] = row;
  const content = randomBytes(CHUNK + 10);
  let attempts = 0;
  const { server, upload } = await resumable((seen, response) => {
    const range = seen.headers['content-range'] ?? '';
    if (seen.method !== 'PUT' || !/\/\d+$/.test(range)) return undefined;
    const isQuestion = range.startsWith('bytes *');
    if (!isQuestion && ++attempts === 1) return 'before';
    if (isQuestion !== (moment === 'the question after it')) return undefined;
    upload.object = whose === 'ours' ? content : randomBytes(CHUNK + 10);
    if (status === 412) refuse(response, 412, 'At least one of the pre-conditions did not hold.', 'conditionNotMet');
    else refuse(response, 404, 'Not Found', 'notFound');
    return 'answered';
  });
  const stack = storageStack(openOn(server, { chunkSize: CHUNK }), { logger: silentLogger, retry: { firstDelay: 1 } });
  const put = stack.put('key', body(content), { ifAbsent: true });
  if (whose === 'ours') await put;
  else await expect(put).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
  expect(attempts).toBe(moment === 'the question after it' ? 1 : 2);
});

test.each(['ours', 'theirs'] as const)('STOR-18 one request whose answer is lost: the object is %s', async (whose) => {
  const content = randomBytes(1000);
  const stored = whose === 'ours' ? content : randomBytes(1000);
  let posts = 0;
  const server = await scriptedServer((response, seen) => {
    if (seen.method === 'POST') {
      posts++;
      response.destroy();
    } else if (seen.query['alt'] === 'media') {
      response.writeHead(200, { 'content-length': stored.byteLength }).end(stored);
    } else refuse(response, 500, 'not expected');
  });
  const stack = storageStack(openOn(server), { logger: silentLogger, retry: { firstDelay: 1 } });
  const put = stack.put('key', body(content), { ifAbsent: true });
  if (whose === 'ours') await put;
  else await expect(put).rejects.toMatchObject({ code: 'STORAGE_EXISTS' });
  expect(posts).toBe(1);
});

test.each(['at the question how far it is', 'after the end of the put'])(
  'STOR-18 a chunk that was cancelled and sent again takes effect %s: the object is the same, and is not touched again',
  async (moment) => {
    const content = randomBytes(2 * CHUNK + 1000);
    const upload: Upload = { received: Buffer.alloc(0), object: undefined, sessions: 0, queries: 0 };
    /** Chunks that the server has, and works off late. */
    const held: Seen[] = [];
    const seenBefore = new Set<string>();
    let late = 0;
    const workOff = (): void => {
      for (const seen of held.splice(0)) {
        late++;
        // What it has already it passes over.
        const [, start] = /^bytes (\d+)-/.exec(seen.headers['content-range'] ?? '') ?? [];
        if (Number(start) === upload.received.byteLength) take(seen, upload);
      }
    };
    const server = await scriptedServer((response, seen) => {
      const range = seen.headers['content-range'] ?? '';
      const isChunk = seen.method === 'PUT' && !range.startsWith('bytes *');
      if (isChunk && !seenBefore.has(range)) {
        seenBefore.add(range);
        held.push(seen);
        return;
      }
      if (seen.method === 'PUT' && moment === 'at the question how far it is') workOff();
      take(seen, upload)(response);
    });
    const answers: Promise<unknown>[] = [];
    const attempt: PutOptions['attempt'] = async (step, call) => {
      const never = new AbortController().signal;
      if (!step.name.startsWith('chunk')) return call(step.signal ?? never);
      const cancel = new AbortController();
      const before = seenBefore.size;
      answers.push(call(cancel.signal).catch((error: unknown) => error));
      await until('the server has the chunk', () => seenBefore.size > before);
      cancel.abort();
      return call(step.signal ?? never);
    };
    await openOn(server, { chunkSize: CHUNK }).put('key', body(content), { ifAbsent: true, attempt });
    const { object } = upload;
    expect(object?.equals(content)).toBe(true);
    workOff();
    expect([late, upload.sessions]).toEqual([3, 1]);
    expect(upload.object).toBe(object);
    for (const answer of await Promise.all(answers))
      expect(answer).toMatchObject({ code: expect.any(String) as string });
  },
);

test('after the deadline it fails, and gives the upload up', async () => {
  let refused = 0;
  const { server, upload } = await resumable((seen, response) => {
    if (seen.method !== 'PUT' || server.requests.length < 4) return undefined;
    refused++;
    refuse(response, 503, 'try later');
    return 'answered';
  });
  const retry = { firstDelay: 50, deadline: 400 };
  const stack = storageStack(openOn(server, { chunkSize: CHUNK }), { logger: silentLogger, retry });
  const put = stack.put('key', body(randomBytes(20 * CHUNK)), { ifAbsent: true });
  await expect(put).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE', retriable: true });
  expect(refused).toBeGreaterThan(1);
  expect(server.lines.at(-1)).toBe(`DELETE ${SESSION}`);
  expect(upload.object).toBeUndefined();
});
