import { metrics, trace } from '@opentelemetry/api';
import { exampleEvent, Secret, type ArchiveEvent, type ArchiveEvents, type EventName } from '@pgark/sdk';
import { HttpHookReceiver, type HttpHookReceiverOptions } from '@pgark/sdk/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { optionFaults } from '../../../test/support/configured-hook.ts';
import { documentedHookOptions } from '../../../test/support/documented-hook.ts';
import { readPage } from '../../../test/docs/pages.ts';
import plugin, { OtelHook, type OtelHookOptions } from '../src/index.ts';
import { metricsOf, requestsTo, resourceOf, spansOf, type ReadMetric, type ReadSpan } from './collector.ts';

const { signal } = new AbortController();
const BEGIN = Date.UTC(2026, 10, 29, 1, 0, 0);

async function collector(options: HttpHookReceiverOptions = {}): Promise<HttpHookReceiver> {
  const receiver = await HttpHookReceiver.start(options);
  onTestFinished(() => receiver.close());
  return receiver;
}

function hookFor({ url }: HttpHookReceiver, options: Partial<OtelHookOptions> = {}): OtelHook {
  const hook = new OtelHook({ url, ...options });
  onTestFinished(() => hook.close());
  return hook;
}

function event<Name extends EventName>(
  name: Name,
  seconds: number,
  data: Partial<ArchiveEvents[Name]> = {},
): ArchiveEvent {
  const example = exampleEvent(name, { id: crypto.randomUUID(), time: BEGIN + seconds * 1000 });
  return { ...example, data: { ...example.data, ...data } };
}

const spans = (receiver: HttpHookReceiver): readonly ReadSpan[] => requestsTo(receiver, '/v1/traces').flatMap(spansOf);

/** What the last request says of a metric: attributes, as text, and value. */
function points(receiver: HttpHookReceiver, name: string): readonly (readonly [string, number])[] {
  const last = requestsTo(receiver, '/v1/metrics').at(-1);
  const found: ReadMetric | undefined = last && metricsOf(last).get(name);
  return (found?.points ?? []).map(({ attributes, value }) => [Object.values(attributes).join(' '), value]);
}

describe('spans', () => {
  test('a backup is a span from its start to its end, and says how it went', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver, { serviceName: 'archive', resource: { 'deployment.environment.name': 'test' } });
    await hook.handle(event('backup.started', 0), { signal });
    expect(spans(receiver)).toEqual([]);
    const finished = event('backup.finished', 90.5);
    await hook.handle(finished, { signal });
    expect(spans(receiver)).toEqual([
      {
        resource: {
          'service.name': 'archive',
          'service.instance.id': expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown,
          'host.name': 'backup1',
          'pgark.cluster': 'main',
          'deployment.environment.name': 'test',
        },
        traceId: expect.stringMatching(/^[0-9a-f]{32}$/) as unknown,
        spanId: expect.stringMatching(/^[0-9a-f]{16}$/) as unknown,
        name: 'pgark backup',
        start: BEGIN,
        end: BEGIN + 90_500,
        status: { code: 1 },
        attributes: {
          'pgark.event.id': finished.id,
          'pgark.event.name': 'backup.finished',
          'pgark.event.severity': 'info',
          'pgark.event.summary': finished.summary,
          'pgark.operation.outcome': 'finished',
          'pgark.operation.start_known': true,
          'pgark.data.id': '20261129T010203Z-3f9a',
          'pgark.data.bytes': 4_210_000_000,
          'pgark.data.suspect': false,
          'pgark.data.behind': [],
        },
      },
    ]);
  });

  test('an end tells its duration itself, or has a start that nobody knows, and says so', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver);
    await hook.handle(event('drill.finished', 400, { seconds: 300 }), { signal });
    await hook.handle(event('backup.started', 0, { id: 'another' }), { signal });
    await hook.handle(event('backup.finished', 10), { signal });
    await hook.handle(event('verify.finished', 20), { signal });
    expect(
      spans(receiver).map(({ name, start, end, attributes }) => [
        name,
        start,
        end,
        attributes['pgark.operation.start_known'],
      ]),
    ).toEqual([
      ['pgark drill', BEGIN + 100_000, BEGIN + 400_000, true],
      ['pgark backup', BEGIN + 10_000, BEGIN + 10_000, false],
      ['pgark verify', BEGIN + 20_000, BEGIN + 20_000, false],
    ]);
  });

  test('a failure is an error with its reason; what somebody cancelled is none; damage is one', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver);
    const all = [
      event('backup.failed', 1),
      event('restore.failed', 2),
      event('verify.failed', 3),
      event('drill.failed', 4),
      event('backup.failed', 5, { code: 'ABORTED' }),
      { ...event('backup.finished', 6, { suspect: true }), severity: 'critical' as const },
      event('receive.disconnected', 7),
    ];
    for (const one of all) await hook.handle(one, { signal });
    expect(spans(receiver).map(({ name, status }) => [name, status.code])).toEqual([
      ['pgark backup', 2],
      ['pgark restore', 2],
      ['pgark verify', 2],
      ['pgark drill', 2],
      ['pgark backup', 0],
      ['pgark backup', 2],
    ]);
    expect(spans(receiver)[0]?.status.message).toBe(all[0]?.summary);
  });

  test('HOOK-04 told again, it is the same span, with the same start', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver);
    await hook.handle(event('backup.started', 0), { signal });
    const finished = event('backup.finished', 90);
    receiver.behave('fail');
    await expect(hook.handle(finished, { signal })).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      details: { status: 503 },
    });
    receiver.behave('accept');
    await hook.handle(finished, { signal });
    const [first, second, ...more] = spans(receiver);
    expect(more).toEqual([]);
    expect(second).toEqual(first);
    expect(second?.start).toBe(BEGIN);
  });
});

describe('metrics', () => {
  test('count what was reported, WAL, gaps and conflicts; nothing yet is 0', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver);
    await hook.handle(event('receive.connected', 0), { signal });
    expect(['wal.shipped', 'wal.gaps', 'wal.conflicts'].map((name) => points(receiver, `pgark.${name}`))).toEqual([
      [['', 0]],
      [['', 0]],
      [['', 0]],
    ]);
    for (const name of ['wal.shipped', 'wal.shipped', 'wal.gap', 'wal.conflict'] as const)
      await hook.handle(event(name, 1), { signal });
    expect(points(receiver, 'pgark.wal.shipped')).toEqual([['', 2 * 16_777_216]]);
    expect(points(receiver, 'pgark.wal.gaps')).toEqual([['', 1]]);
    expect(points(receiver, 'pgark.wal.conflicts')).toEqual([['', 1]]);
    expect(points(receiver, 'pgark.events')).toEqual([
      ['receive.connected info', 1],
      ['wal.shipped info', 2],
      ['wal.gap critical', 1],
      ['wal.conflict critical', 1],
    ]);
    const last = requestsTo(receiver, '/v1/metrics').at(-1);
    expect(last && metricsOf(last).get('pgark.wal.shipped')).toMatchObject({
      type: 'sum',
      unit: 'By',
      isMonotonic: true,
      temporality: 2,
    });
    expect(last && resourceOf(last)).toMatchObject({
      'service.name': 'pgark',
      'pgark.cluster': 'main',
      'host.name': 'backup1',
    });
  });

  test('conditions are open or closed; what nobody has spoken of is not there', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver);
    await hook.handle(event('wal.timeline', 0), { signal });
    expect(points(receiver, 'pgark.condition.open')).toEqual([]);
    await hook.handle(event('receive.disconnected', 1), { signal });
    await hook.handle(event('storage.degraded', 2), { signal });
    expect(points(receiver, 'pgark.condition.open')).toEqual([
      ['receive', 1],
      ['storage:offsite', 1],
    ]);
    await hook.handle(event('receive.connected', 3), { signal });
    expect(points(receiver, 'pgark.condition.open')).toEqual([
      ['receive', 0],
      ['storage:offsite', 1],
    ]);
  });

  test('durations that are known, and the last backup', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver);
    await hook.handle(event('backup.started', 0), { signal });
    await hook.handle(event('backup.finished', 90), { signal });
    await hook.handle(event('drill.finished', 500, { seconds: 300.5 }), { signal });
    await hook.handle(event('verify.finished', 600), { signal });
    expect(points(receiver, 'pgark.operation.duration')).toEqual([
      ['backup finished', 90],
      ['drill finished', 300.5],
    ]);
    expect(points(receiver, 'pgark.backup.size')).toEqual([['', 4_210_000_000]]);
    expect(points(receiver, 'pgark.backup.finished')).toEqual([['', BEGIN / 1000 + 90]]);
  });

  test('H-81 what could not be sent is in what is sent next, and nothing is counted twice', async () => {
    const receiver = await collector();
    const hook = hookFor(receiver);
    const shipped = event('wal.shipped', 0);
    receiver.behave('fail');
    for (const _ of [1, 2, 3])
      await expect(hook.handle(shipped, { signal })).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    receiver.behave('accept');
    await hook.handle(event('wal.gap', 1), { signal });
    expect(points(receiver, 'pgark.wal.shipped')).toEqual([['', 16_777_216]]);
    expect(points(receiver, 'pgark.events')).toEqual([
      ['wal.shipped info', 1],
      ['wal.gap critical', 1],
    ]);
  });
});

describe('the collector', () => {
  test('gets the headers of the config, and one that refuses a part of it is heard', async () => {
    const refused = { status: 200, body: '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old, tok-42"}}' };
    const receiver = await collector({ accept: refused });
    const headers = [
      { name: 'Authorization', value: new Secret('Bearer tok-42') },
      { name: 'X-Scope-OrgID', value: new Secret('db') },
    ];
    await expect(hookFor(receiver, { headers }).handle(event('backup.failed', 0), { signal })).rejects.toMatchObject({
      code: 'HOOK_REJECTED',
      retriable: false,
      message: expect.stringMatching(
        /^the collector 127\.0\.0\.1:\d+ refused 1 of the traces: too old, \[redacted\]$/,
      ) as unknown,
    });
    expect(receiver.requests).toMatchObject([
      {
        method: 'POST',
        path: '/v1/traces',
        headers: { authorization: 'Bearer tok-42', 'x-scope-orgid': 'db', 'content-type': 'application/json' },
      },
    ]);
  });

  test('HOOK-03 "too many requests" is no refusal, a wrong address is one', async () => {
    const receiver = await collector({
      reject: { status: 404 },
      fail: { status: 429, headers: { 'retry-after': '7' } },
    });
    const hook = hookFor(receiver);
    receiver.behave('fail');
    await expect(hook.handle(event('wal.gap', 0), { signal })).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      details: { retryAfter: 7 },
    });
    receiver.behave('reject');
    await expect(hook.handle(event('wal.gap', 0), { signal })).rejects.toMatchObject({ code: 'HOOK_REJECTED' });
  });

  test('several archives of one process stay apart, and nothing is registered for the process', async () => {
    const [one, two] = [await collector(), await collector()];
    const hooks = [hookFor(one), hookFor(two)];
    await Promise.all(hooks.map((hook, at) => hook.handle({ ...event('wal.gap', 0), cluster: `c${at}` }, { signal })));
    await hooks[0]?.handle({ ...event('wal.gap', 1), cluster: 'c0' }, { signal });
    expect([points(one, 'pgark.wal.gaps'), points(two, 'pgark.wal.gaps')]).toEqual([[['', 2]], [['', 1]]]);
    expect([one, two].map(({ requests }) => requests[0] && resourceOf(requests[0])['pgark.cluster'])).toEqual([
      'c0',
      'c1',
    ]);
    // The API's own no-ops are what is registered: a span of theirs is not recorded.
    expect(trace.getTracer('x').startSpan('x').isRecording()).toBe(false);
    expect(metrics.getMeterProvider().constructor.name).toContain('Noop');
  });
});

describe('the options', () => {
  test.each([
    [{ url: 'http://collector:4318' }, []],
    [{ url: 'https://collector/otlp/' }, []],
    [{ url: 'collector:4318' }, ['url: must be an http or https URL']],
    [{ url: 'http://collector:4318/v1/traces' }, ['url: must be the address before /v1/traces and /v1/metrics']],
    [{ url: 'http://c', traces: false, metrics: false }, ['metrics: there is nothing left to send']],
    [
      { url: 'http://c', headers: [{ name: 'a b', value: new Secret('x') }] },
      ['headers.0.name: must be the name of a header'],
    ],
    [
      { url: 'http://c', headers: [{ name: 'Content-Length', value: new Secret('x\ny') }] },
      ['headers.0.name: must not be a header that pgark sets itself', 'headers.0.value: must be one line of ASCII'],
    ],
    [{ url: 'http://c', protocol: 'grpc' }, [': Unrecognized key: "protocol"']],
  ])('%j', async (options, expected) => {
    expect((await optionFaults(plugin, options)) ?? []).toEqual(expected);
  });
});

test('the page names every metric, and its configs are taken', async () => {
  const page = readPage('docs/how-to/opentelemetry.md');
  const receiver = await collector();
  const hook = hookFor(receiver);
  for (const name of ['backup.started', 'backup.finished', 'receive.disconnected'] as const)
    await hook.handle(event(name, 1), { signal });
  const last = requestsTo(receiver, '/v1/metrics').at(-1);
  const sent = last === undefined ? [] : [...metricsOf(last).keys()];
  const named = page.spans
    .map(({ text }) => text)
    .filter((text) => /^pgark\.(?!event\.|condition\.key|operation\.(?!duration)|data|cluster)/.test(text));
  expect([...new Set(named)].sort()).toEqual(sent.sort());
  const documented = await documentedHookOptions(page.path, 'otel', plugin.secrets ?? []);
  expect(documented).not.toEqual([]);
  for (const options of documented) expect(await optionFaults(plugin, options)).toBeUndefined();
});
