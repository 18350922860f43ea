import { createHmac, timingSafeEqual } from 'node:crypto';
import plugin from '@pgark/hook-webhook';
import { EVENT_NAMES, exampleEvent, Secret, type ArchiveEvent } from '@pgark/sdk';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configuredHook, optionFaults } from '../../../test/support/configured-hook.ts';
import { HttpReceiver, type ReceivedRequest } from '../../../test/support/http-receiver.ts';
import { NASTY_TEXTS } from '../../../test/support/nasty-text.ts';
import { signatureHeaders } from '../src/signature.ts';

const signal = new AbortController().signal;
const KEY = Buffer.from('0123456789abcdef0123456789abcdef');
const WHSEC = `whsec_${KEY.toString('base64')}`;
let receiver: HttpReceiver;
beforeEach(async () => {
  receiver = await HttpReceiver.listen();
});
afterEach(() => receiver.close());

async function posted(event: ArchiveEvent, options: object = {}): Promise<ReceivedRequest> {
  const hook = await configuredHook(plugin, { url: new Secret(receiver.url('/hooks/pgark')), ...options });
  await hook.handle(event, { signal });
  await hook.close();
  const request = receiver.received.at(-1);
  if (request === undefined) throw new Error('nothing was posted');
  return request;
}

const json = ({ body }: ReceivedRequest): unknown => JSON.parse(body) as unknown;

/** What a receiver does, by the text of the specification: https://www.standardwebhooks.com. */
function isSigned({ headers, body }: ReceivedRequest, key: Buffer, tolerance = 300): boolean {
  const [id, time, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    String(headers[name] ?? ''),
  );
  if (Math.abs(Date.now() / 1000 - Number(time)) > tolerance) return false;
  const expected = createHmac('sha256', key).update(`${id}.${time}.${body}`).digest();
  return (signatures ?? '').split(' ').some((signature) => {
    const [version, value = ''] = signature.split(',');
    const given = Buffer.from(value, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

test.each(EVENT_NAMES)('%s is posted as it is', async (name) => {
  const event = exampleEvent(name);
  const request = await posted(event);
  expect(json(request)).toEqual(event);
  expect(request).toMatchObject({
    method: 'POST',
    path: '/hooks/pgark',
    headers: { 'content-type': 'application/json' },
  });
});

test('HOOK-05 an event of a later version too', async () => {
  const event = { ...exampleEvent('backup.failed'), name: 'backup.polished' as never, data: { shine: 9 } as never };
  expect(json(await posted(event))).toEqual(event);
});

test('HOOK-06 text of an event stays text', async () => {
  for (const text of NASTY_TEXTS) {
    const event = { ...exampleEvent('backup.failed'), cluster: text, host: text, summary: text };
    // JSON has no halves of characters.
    expect(JSON.stringify(json(await posted(event)))).toBe(JSON.stringify(event));
  }
});

describe('signature', () => {
  const event = exampleEvent('backup.failed');

  test('a receiver can check it, and a change of the body, the id or the time shows', async () => {
    const request = await posted(event, { secret: new Secret(WHSEC) });
    expect(isSigned(request, KEY)).toBe(true);
    expect(isSigned(request, Buffer.from('another key of that length 123456'))).toBe(false);
    expect(isSigned({ ...request, body: `${request.body} ` }, KEY)).toBe(false);
    for (const [name, value] of [
      ['webhook-id', 'another'],
      ['webhook-timestamp', String(Number(request.headers['webhook-timestamp']) + 1)],
    ] as const) {
      expect(isSigned({ ...request, headers: { ...request.headers, [name]: value } }, KEY), name).toBe(false);
    }
  });

  test('a vector of the libraries of Standard Webhooks', () => {
    const secret = new Secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
    const body = '{"test": 2432232314}';
    expect(signatureHeaders('msg_p5jXN8AQM9LWM0D4loKWxJek', body, [secret], 1_614_265_330_999)).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('a plain text is a key too, and while keys change both sign', async () => {
    const old = 'an old secret of some length';
    const request = await posted(event, { secret: [new Secret(WHSEC), new Secret(old)] });
    expect(isSigned(request, KEY)).toBe(true);
    expect(isSigned(request, Buffer.from(old))).toBe(true);
  });

  test('HOOK-04 the id of a second delivery is that of the first', async () => {
    const requests = [await posted(event), await posted(event, { secret: new Secret(WHSEC) })];
    expect(requests.map(({ headers }) => headers['webhook-id'])).toEqual([event.id, event.id]);
    expect(requests[0]?.headers['webhook-signature']).toBeUndefined();
  });

  test('an id from elsewhere cannot break the header or the signature', async () => {
    const request = await posted({ ...event, id: 'a.b\r\nx: y' }, { secret: new Secret(WHSEC) });
    expect(request.headers['webhook-id']).toBe('a%2Eb%0D%0Ax%3A%20y');
    expect(isSigned(request, KEY)).toBe(true);
  });
});

test('headers of the config', async () => {
  const headers = [
    { name: 'Authorization', value: new Secret('Bearer t0ken') },
    { name: 'Content-Type', value: new Secret('application/vnd.acme+json') },
  ];
  const request = await posted(exampleEvent('backup.failed'), { headers });
  expect(request.headers).toMatchObject({ authorization: 'Bearer t0ken', 'content-type': 'application/vnd.acme+json' });
});

describe('templates', () => {
  const event = exampleEvent('backup.failed');

  test('names in texts, whole values, and what an event does not have', async () => {
    const body = {
      title: '{{cluster}}: {{ name }}',
      text: '{{summary}} at {{time}} ({{data.code}}){{condition.nothing}}',
      data: '{{data}}',
      list: ['{{severity}}', 1, true, null],
      missing: '{{data.nothing}}',
      proto: '{{data.constructor}}',
      plain: 'no names { } }}',
    };
    expect(json(await posted(event, { body }))).toEqual({
      title: 'main: backup.failed',
      text: `${event.summary} at 2026-11-29T01:02:03.000Z (${event.data.code})`,
      data: event.data,
      list: [event.severity, 1, true, null],
      plain: 'no names { } }}',
    });
    expect(json(await posted(event, { body: '{{event}}' }))).toEqual(event);
    // An event without it is still to be delivered, and holds up no other.
    expect(json(await posted(event, { body: '{{data.nothing}}' }))).toBeNull();
  });

  test('HOOK-06 text of an event adds nothing to the structure, and is no template', async () => {
    const body = { text: 'at {{host}}: {{summary}}', deep: [{ summary: '{{summary}}' }] };
    for (const text of NASTY_TEXTS) {
      const filled = json(await posted({ ...event, host: text, summary: text }, { body }));
      expect(JSON.stringify(filled)).toBe(JSON.stringify({ text: `at ${text}: ${text}`, deep: [{ summary: text }] }));
    }
  });

  test('a name that no event has is refused before anything happens', async () => {
    const url = new Secret(receiver.url('/'));
    expect(await optionFaults(plugin, { url, body: { a: ['{{sumary}}'] } })).toEqual([
      'body: {{sumary}} is nothing of an event: there are id, name, time, cluster, host, severity, summary, condition, data, event',
    ]);
    expect(await optionFaults(plugin, { url, body: '{{ summary' })).toEqual([
      'body: has "{{" without a name and "}}" behind it',
    ]);
    expect(await optionFaults(plugin, { url, body: '{{Summary}}' })).toHaveLength(1);
  });
});

describe('presets', () => {
  test.each(EVENT_NAMES)('cloudevents: %s', async (name) => {
    const event = exampleEvent(name, { cluster: 'a cluster' });
    const request = await posted(event, { preset: 'cloudevents' });
    expect(request.headers['content-type']).toBe('application/cloudevents+json');
    const content = json(request) as Record<string, unknown>;
    // https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md: required attributes, and names of attributes.
    expect(content).toMatchObject({
      specversion: '1.0',
      id: event.id,
      source: '/pgark/a%20cluster',
      type: `pgark.${name}`,
    });
    expect(content['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Object.keys(content).filter((key) => !/^[a-z0-9]+$/.test(key))).toEqual([]);
    expect(content['data']).toMatchObject({ summary: event.summary, data: event.data });
  });

  test('HOOK-06 cloudevents: any text', async () => {
    for (const text of NASTY_TEXTS) {
      const event = { ...exampleEvent('backup.failed'), id: text, cluster: text, host: text, summary: text };
      const content = json(await posted(event, { preset: 'cloudevents' })) as Record<string, unknown>;
      expect(content['source']).toMatch(/^\/pgark\/[\w.~!*'()%-]*$/);
      expect(Object.keys(content)).toHaveLength(9);
    }
  });

  test('HOOK-06 mattermost: no mention and no markup', async () => {
    for (const text of NASTY_TEXTS) {
      const event = { ...exampleEvent('backup.failed'), cluster: text, host: text, summary: text };
      const { text: line } = json(await posted(event, { preset: 'mattermost' })) as { readonly text: string };
      const mine = line.slice(`**${event.severity}** `.length);
      expect(mine.replaceAll(/\\[^0-9A-Za-z\s]/g, '').replace(/ \(|\)$/g, '')).not.toMatch(/[*_~`|<>#[\]:\n]|@\w/);
      expect(line.length).toBeLessThan(16_383);
    }
  });
});

test.each([
  [{ url: undefined }, 'url'],
  [{ url: 'text' }, 'url'],
  [{ url: new Secret('ftp://x') }, 'url'],
  [{ secret: new Secret('too short') }, 'secret'],
  [{ secret: new Secret(`whsec_${Buffer.alloc(12).toString('base64')}`) }, 'secret'],
  [{ secret: [] }, 'secret'],
  [{ headers: [{ name: 'a b', value: new Secret('x') }] }, 'headers.0.name'],
  [{ headers: [{ name: 'Webhook-Signature', value: new Secret('x') }] }, 'headers.0.name'],
  [{ headers: [{ name: 'Host', value: new Secret('x') }] }, 'headers.0.name'],
  [{ headers: [{ name: 'x', value: new Secret('a\r\nb: c') }] }, 'headers.0.value'],
  [{ headers: [{ name: 'x', value: 'not wrapped' }] }, 'headers.0.value'],
  [{ preset: 'slack' }, 'preset'],
  [{ preset: 'event', body: {} }, 'body'],
])('options are strict: %j', async (wrong, path) => {
  const faults = await optionFaults(plugin, { url: new Secret('https://a.example/hook'), ...wrong });
  expect(faults?.map((fault) => fault.split(': ')[0])).toEqual([path]);
});

test('options: what is allowed', async () => {
  const url = new Secret('http://receiver.internal/hook');
  const value = new Secret('x');
  expect(
    await optionFaults(plugin, {
      url,
      secret: new Secret(WHSEC),
      headers: [{ name: 'x', value }],
      preset: 'cloudevents',
    }),
  ).toBeUndefined();
  expect(plugin.secrets).toEqual(['url', 'secret', 'headers[].value']);
});
