import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { HttpDelivery, isArchiveError, Secret, type ArchiveError, type DeliveryAnswer } from '@pgark/sdk';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CertificateAuthority } from '../../test/support/certificates.ts';
import { freePort } from '../../test/support/free-port.ts';
import { HttpReceiver } from '../../test/support/http-receiver.ts';
import { until } from '../../test/support/until.ts';

const forever = new AbortController().signal;
const PATH = '/services/T0SECRET0/B0SECRET0/abcDEFghiJKL';
let receiver: HttpReceiver;
let delivery: HttpDelivery;

beforeEach(async () => {
  receiver = await HttpReceiver.listen();
  delivery = deliveryTo(receiver.url(PATH));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await delivery.close();
  await receiver.close();
});

function deliveryTo(url: string, reason?: (answer: DeliveryAnswer) => string | undefined): HttpDelivery {
  return new HttpDelivery({
    to: 'the receiver',
    secrets: [new Secret(url)],
    ...(reason === undefined ? {} : { reason }),
  });
}

const send = (signal: AbortSignal = forever): Promise<DeliveryAnswer> =>
  delivery.send({ url: receiver.url(PATH), body: '{"é":1}' }, { signal });

async function failure(sent: Promise<unknown>): Promise<ArchiveError> {
  const error: unknown = await sent.then(
    () => expect.unreachable('it was delivered'),
    (thrown: unknown) => thrown,
  );
  if (!isArchiveError(error)) throw error;
  expect(inspect(error, { depth: 10 }), 'the secret is in the error').not.toMatch(/T0SECRET0|abcDEFghi/i);
  return error;
}

test('one POST of JSON, whose answer is given back', async () => {
  receiver.respond = () => ({ status: 202, body: 'taken' });
  expect(await send()).toEqual({ status: 202, body: 'taken' });
  expect(receiver.received).toMatchObject([
    {
      method: 'POST',
      path: PATH,
      body: '{"é":1}',
      headers: { 'content-type': 'application/json', 'content-length': '8', 'user-agent': 'pgark' },
    },
  ]);
  await until('the connection is closed', async () => (await receiver.connections()) === 0);
});

describe('what an answer means', () => {
  test.each([400, 401, 403, 404, 409, 410, 413, 422, 451])('HOOK-03 %i is a refusal', async (status) => {
    receiver.respond = () => ({ status, headers: { 'retry-after': '10' } });
    const error = await failure(send());
    expect(error).toMatchObject({ code: 'HOOK_REJECTED', retriable: false, details: { status } });
    expect(receiver.received).toHaveLength(1);
  });

  test.each([408, 425, 429, 500, 502, 503, 504, 529])(
    'HOOK-03 %i is a failure that a further try may mend',
    async (status) => {
      receiver.respond = () => ({ status });
      const error = await failure(send());
      expect(error).toMatchObject({ code: 'HOOK_FAILED', retriable: true, message: `the receiver answered ${status}` });
      expect(receiver.received).toHaveLength(1);
    },
  );

  test('when to come again, in seconds or as a date', async () => {
    receiver.respond = () => ({ status: 429, headers: { 'retry-after': '30' } });
    expect(await failure(send())).toMatchObject({
      details: { status: 429, retryAfter: 30 },
      message: 'the receiver answered 429, wants to be asked again after 30 s',
    });
    receiver.respond = () => ({ status: 503, headers: { 'retry-after': new Date(Date.now() + 90_000).toUTCString() } });
    const { retryAfter } = (await failure(send())).details as { readonly retryAfter: number };
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(90);
    for (const nonsense of ['soon', '-5', '', '1e400']) {
      receiver.respond = () => ({ status: 503, headers: { 'retry-after': nonsense } });
      expect((await failure(send())).details, nonsense).toEqual({ status: 503 });
    }
  });

  test.each([301, 302, 303, 307, 308])('a redirect (%i) is not followed', async (status) => {
    const elsewhere = await HttpReceiver.listen();
    receiver.respond = () => ({ status, headers: { location: elsewhere.url(PATH) } });
    expect(await failure(send())).toMatchObject({ code: 'HOOK_REJECTED' });
    expect(receiver.received).toHaveLength(1);
    expect(elsewhere.received).toEqual([]);
    await elsewhere.close();
  });

  test('H-64 HOOK-06 the reason that a receiver gives is said, unless it gives back the secret', async () => {
    delivery = deliveryTo(receiver.url(PATH), ({ body }) => body);
    receiver.respond = () => ({ status: 404, body: 'no_service' });
    expect((await failure(send())).message).toBe('the receiver refused the event: 404: no_service');
    for (const body of [
      `Cannot POST ${PATH}`,
      encodeURIComponent(PATH),
      'token ABCDEFGHIJKL',
      PATH.replaceAll('/', '&#x2F;'),
    ]) {
      receiver.respond = () => ({ status: 404, body });
      expect((await failure(send())).message, body).toBe('the receiver refused the event: 404');
    }
  });

  test('an answer without end is read to a bound', async () => {
    let written = 0;
    let closed = false;
    receiver.respond = (_, { response }) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384, 'x'))) written += 16_384;
      };
      response.on('drain', more);
      response.on('close', () => (closed = true));
      more();
      return undefined;
    };
    expect((await send()).body).toHaveLength(65_536);
    await until('the connection is closed', () => closed);
    expect(written).toBeGreaterThan(65_536);
  });
});

describe('HOOK-03 the network', () => {
  test('nobody listens', async () => {
    const url = `http://127.0.0.1:${await freePort()}${PATH}`;
    delivery = deliveryTo(url);
    const error = await failure(delivery.send({ url, body: '' }, { signal: forever }));
    expect(error).toMatchObject({ code: 'HOOK_FAILED', message: 'the receiver cannot be reached: ECONNREFUSED' });
  });

  test('the connection breaks before the answer', async () => {
    receiver.respond = (_, { request }) => {
      request.socket.destroy();
      return undefined;
    };
    expect(await failure(send())).toMatchObject({ code: 'HOOK_FAILED', details: { code: 'ECONNRESET' } });
  });

  test('the connection breaks after the status: the event was taken', async () => {
    receiver.respond = (_, { response }) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('begin', () => response.destroy());
      return undefined;
    };
    expect(await send()).toEqual({ status: 200, body: 'begin' });
  });

  test('the answer is no HTTP', async () => {
    receiver.respond = (_, { request }) => {
      request.socket.end('SSH-2.0-OpenSSH_9.9\r\n');
      return undefined;
    };
    expect(await failure(send())).toMatchObject({ code: 'HOOK_FAILED' });
  });

  test('a certificate of nobody: nothing is told', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgark-delivery-'));
    const { certificate, key } = new CertificateAuthority(folder, 'nobody').issue('localhost', {
      alternative: 'DNS:localhost',
    });
    const secure = await HttpReceiver.listen(undefined, { cert: readFileSync(certificate), key: readFileSync(key) });
    const url = `https://localhost:${secure.port}${PATH}`;
    delivery = deliveryTo(url);
    expect(await failure(delivery.send({ url, body: '' }, { signal: forever }))).toMatchObject({
      code: 'HOOK_FAILED',
      message: 'the receiver cannot be reached: UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    });
    expect(secure.received).toEqual([]);
    await secure.close();
    rmSync(folder, { recursive: true });
  });

  test('a header that HTTP does not allow is not sent', async () => {
    const headers = { authorization: 'one\r\nx-injected: yes' };
    const error = await failure(delivery.send({ url: receiver.url(PATH), body: '', headers }, { signal: forever }));
    expect(error).toMatchObject({ code: 'HOOK_FAILED', details: { code: 'ERR_INVALID_CHAR' } });
    expect(receiver.received).toEqual([]);
  });

  test('the proxy of the environment is used, and not for what NO_PROXY names', async () => {
    vi.stubEnv('HTTP_PROXY', receiver.url(''));
    vi.stubEnv('NO_PROXY', '127.0.0.1');
    await send();
    const url = 'http://chat.example/hook';
    await delivery.send({ url, body: '' }, { signal: forever });
    expect(receiver.received.map(({ path }) => path)).toEqual([PATH, url]);
  });
});

describe('HOOK-02 the signal', () => {
  test('one that has fired: nothing is sent', async () => {
    const error = await failure(send(AbortSignal.abort('over')));
    expect(error).toMatchObject({ code: 'HOOK_FAILED', cause: 'over' });
    expect(await receiver.connections()).toBe(0);
  });

  test.each(['before the answer', 'within the answer'])('it fires %s', async (when) => {
    const controller = new AbortController();
    let closed = false;
    receiver.respond = (_, { request, response }) => {
      if (when === 'within the answer') response.writeHead(200).write('x');
      request.socket.on('close', () => (closed = true));
      setTimeout(() => controller.abort(), 50);
      return undefined;
    };
    expect(await failure(send(controller.signal))).toMatchObject({ code: 'HOOK_FAILED' });
    await until('the connection is closed', () => closed);
    expect(receiver.received).toHaveLength(1);
  });

  test('HOOK-07 close ends what is under way, and what comes later is not sent', async () => {
    receiver.respond = () => undefined;
    const sent = failure(send());
    await until('the receiver has the request', () => receiver.received.length === 1);
    await delivery.close();
    expect(await sent).toMatchObject({ code: 'HOOK_FAILED' });
    await failure(send());
    await until('the connection is closed', async () => (await receiver.connections()) === 0);
    expect(receiver.received).toHaveLength(1);
  });
});
