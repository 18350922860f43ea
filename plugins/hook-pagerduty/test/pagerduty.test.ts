import plugin from '@pgark/hook-pagerduty';
import { EVENT_NAMES, exampleEvent, Secret, type ArchiveEvent } from '@pgark/sdk';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configuredHook, optionFaults } from '../../../test/support/configured-hook.ts';
import { NASTY_TEXTS } from '../../../test/support/nasty-text.ts';
import { PagerDutyServer, ROUTING_KEY, type PagerDutyEvent } from './pagerduty-server.ts';

const signal = new AbortController().signal;
let pagerduty: PagerDutyServer;
beforeEach(async () => {
  pagerduty = await PagerDutyServer.start();
});
afterEach(() => pagerduty.receiver.close());

async function tell(events: readonly ArchiveEvent[], options: object = {}): Promise<readonly PagerDutyEvent[]> {
  const before = pagerduty.receiver.received.length;
  const hook = await configuredHook(plugin, {
    routingKey: new Secret(ROUTING_KEY),
    endpoint: pagerduty.endpoint,
    ...options,
  });
  for (const event of events) await hook.handle(event, { signal });
  await hook.close();
  return pagerduty.receiver.received.slice(before).map(({ body }) => JSON.parse(body) as PagerDutyEvent);
}

const gap = { ...exampleEvent('wal.gap'), condition: { key: 'gap', state: 'open' } } as const;

test.each(EVENT_NAMES)('PagerDuty takes %s, or is not bothered with it', async (name) => {
  const event = exampleEvent(name);
  const sent = await tell([event]);
  if (event.condition?.state === 'closed') {
    expect(sent).toMatchObject([{ event_action: 'resolve', dedup_key: `pgark/main/${event.condition.key}` }]);
  } else if (event.condition === undefined && event.severity === 'info') expect(sent).toEqual([]);
  else {
    expect(sent).toMatchObject([
      {
        event_action: 'trigger',
        payload: {
          summary: `main: ${event.summary}`,
          source: 'backup1',
          severity: event.severity,
          group: 'main',
          class: name,
          custom_details: { event: event.id, data: event.data },
        },
      },
    ]);
  }
});

describe('a condition is one alert', () => {
  const closed = { ...gap, id: 'another', severity: 'info', condition: { key: 'gap', state: 'closed' } } as const;

  test('it is triggered, triggered again, and resolved', async () => {
    await tell([gap, { ...gap, id: 'second', host: 'standby' }]);
    expect([...pagerduty.open].map(([key, events]) => [key, events.length])).toEqual([['pgark/main/gap', 2]]);
    await tell([closed]);
    expect(pagerduty.open.size).toBe(0);
    expect(pagerduty.resolved).toBe(1);
  });

  test('that of another cluster, or of another key, stays open', async () => {
    await tell([
      gap,
      { ...gap, cluster: 'other' },
      { ...gap, condition: { key: 'storage:offsite', state: 'open' } },
      closed,
    ]);
    expect([...pagerduty.open.keys()]).toEqual(['pgark/other/gap', 'pgark/main/storage:offsite']);
  });

  test('a key that is too long is cut without becoming that of another', async () => {
    const long = 'x'.repeat(400);
    const of = (key: string, state: 'open' | 'closed'): ArchiveEvent => ({ ...gap, condition: { key, state } });
    await tell([of(`${long}1`, 'open'), of(`${long}2`, 'open'), of(`${long}1`, 'closed')]);
    expect(pagerduty.open.size).toBe(1);
    expect(pagerduty.resolved).toBe(1);
  });
});

test('HOOK-04 without a condition the id is the key: a second delivery opens no second alert', async () => {
  const { condition, ...event } = gap;
  expect(condition).toBeDefined();
  await tell([event, event, { ...event, id: 'another' }]);
  expect([...pagerduty.open].map(([key, events]) => [key, events.length])).toEqual([
    [event.id, 2],
    ['another', 1],
  ]);
});

test('severities are mapped', async () => {
  const severities = { critical: 'error', warning: 'info' };
  const sent = await tell([gap, { ...gap, severity: 'warning' }, { ...gap, severity: 'info' }], { severities });
  expect(sent.map(({ payload }) => payload?.severity)).toEqual(['error', 'info', 'info']);
});

test('HOOK-06 any text fits', async () => {
  for (const text of NASTY_TEXTS) {
    const [sent] = await tell([
      { ...gap, cluster: text, host: text, summary: text, data: { ...gap.data, reason: text } },
    ]);
    expect(sent?.payload?.summary).not.toMatch(/[\n\r\p{Cs}\u202E]/u);
  }
  const data = {
    ...exampleEvent('expire.planned').data,
    backups: Array.from({ length: 40_000 }, () => '20261129T010203Z-3f9a'),
  };
  await tell([{ ...gap, data }]);
});

test('HOOK-06 a refusal is told in the words of PagerDuty, unless they quote the key', async () => {
  const wrong = 'f'.repeat(32);
  await expect(tell([gap], { routingKey: new Secret(wrong) })).rejects.toMatchObject({
    code: 'HOOK_REJECTED',
    message: 'PagerDuty refused the event: 400',
    details: { status: 400 },
  });
  pagerduty.receiver.respond = () => ({
    status: 400,
    body: '{"message":"Event object is invalid","errors":["no", 1, "way"]}',
  });
  await expect(tell([gap])).rejects.toMatchObject({
    message: 'PagerDuty refused the event: 400: Event object is invalid, no, way',
  });
  pagerduty.receiver.respond = () => ({ status: 429, body: '' });
  await expect(tell([gap])).rejects.toMatchObject({ code: 'HOOK_FAILED' });
});

test('options are strict', async () => {
  const routingKey = new Secret(ROUTING_KEY);
  expect(await optionFaults(plugin, { routingKey })).toBeUndefined();
  expect(
    await optionFaults(plugin, { routingKey, endpoint: 'https://events.eu.pagerduty.com/v2/enqueue' }),
  ).toBeUndefined();
  for (const wrong of [
    { routingKey: undefined },
    { routingKey: ROUTING_KEY },
    { routingKey: new Secret('short') },
    { endpoint: 'http://events.pagerduty.com/v2/enqueue' },
    { severities: { critical: 'worst' } },
    { severities: { fatal: 'critical' } },
    { routing_key: 'x' },
  ]) {
    expect(await optionFaults(plugin, { routingKey, ...wrong }), JSON.stringify(wrong)).toHaveLength(1);
  }
  expect(plugin.secrets).toEqual(['routingKey']);
});
