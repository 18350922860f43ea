import plugin from '@pgark/hook-healthchecks';
import { EVENT_NAMES, exampleEvent, makeEvent, Secret, type ArchiveEvent } from '@pgark/sdk';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configuredHook, optionFaults } from '../../../test/support/configured-hook.ts';
import { NASTY_TEXTS } from '../../../test/support/nasty-text.ts';
import { HealthchecksServer } from './healthchecks-server.ts';

const signal = new AbortController().signal;
let healthchecks: HealthchecksServer;
beforeEach(async () => {
  healthchecks = await HealthchecksServer.start();
});
afterEach(() => healthchecks.receiver.close());

async function tell(events: readonly ArchiveEvent[], options: object = {}): Promise<void> {
  const hook = await configuredHook(plugin, { url: new Secret(healthchecks.url), ...options });
  for (const event of events) await hook.handle(event, { signal });
  await hook.close();
}

const started = (id: string): ArchiveEvent => ({ ...exampleEvent('backup.started'), data: { id } });
const finished = (id: string): ArchiveEvent => ({
  ...exampleEvent('backup.finished'),
  data: { ...exampleEvent('backup.finished').data, id },
});
const failed = (id: string): ArchiveEvent => ({
  ...exampleEvent('backup.failed'),
  data: { ...exampleEvent('backup.failed').data, id },
});

test('start, success and failure of backups, and of two at once each its own', async () => {
  await tell([started('one'), started('two'), failed('two'), finished('one'), started('three')]);
  expect(healthchecks.runs()).toEqual(['success', 'fail', undefined]);
  expect(new Set(healthchecks.pings.map(({ run }) => run)).size).toBe(3);
});

test('a backup that is suspect is no success', async () => {
  const { data, ...rest } = exampleEvent('backup.finished');
  await tell([started(data.id), makeEvent('backup.finished', { ...data, suspect: true }, rest)]);
  expect(healthchecks.runs()).toEqual(['fail']);
});

test('a run of the same id in another cluster is another run', async () => {
  await tell([started('one'), { ...finished('one'), cluster: 'other' }]);
  expect(healthchecks.runs()).toEqual([undefined]);
});

test('HOOK-05 by default every other event is let pass', async () => {
  const own = ['backup.started', 'backup.finished', 'backup.failed'];
  const others = EVENT_NAMES.filter((name) => !own.includes(name));
  expect(others.length).toBeGreaterThan(10);
  await tell(others.map((name) => exampleEvent(name)));
  await tell([{ ...exampleEvent('backup.failed'), name: 'backup.polished' as never }]);
  expect(healthchecks.receiver.received).toEqual([]);
});

test('events of the config: drills, and what is only noted', async () => {
  const options = { start: [], success: ['drill.finished'], fail: ['drill.failed'], log: ['guardian.acted'] };
  const events = [
    exampleEvent('drill.finished'),
    exampleEvent('drill.failed'),
    exampleEvent('guardian.acted'),
    exampleEvent('backup.failed'),
  ];
  await tell(events, options);
  expect(healthchecks.pings.map(({ kind }) => kind)).toEqual(['success', 'fail', 'log']);
  // The drill of a backup is no run of the backup, and what names neither has no run.
  const [drill, , noted] = healthchecks.pings;
  await tell([finished(exampleEvent('drill.finished').data.backup)]);
  expect(healthchecks.pings.at(-1)?.run).not.toBe(drill?.run);
  expect(noted?.run).toBeUndefined();
});

test('the note says what has happened, in lines that text of the event cannot add to', async () => {
  const event = exampleEvent('backup.failed');
  await tell([event]);
  expect(healthchecks.pings[0]?.note).toBe(
    `main: backup.failed\n${event.summary}\n${event.severity} · backup1 · 2026-11-29T01:02:03.000Z\nevent ${event.id}\n`,
  );
  for (const text of NASTY_TEXTS) {
    await tell([{ ...event, summary: text, host: text, cluster: text }]);
    expect(healthchecks.pings.at(-1)?.note.match(/\n/g)).toHaveLength(4);
  }
});

describe('ping URLs', () => {
  test.each(['/ping/key/slug', '/ping/key/slug/', '/ping/key/slug?create=1'])('%s', async (path) => {
    await tell([started('one')], { url: new Secret(healthchecks.receiver.url(path)) });
    const sent = healthchecks.receiver.received.at(-1)?.path ?? '';
    expect(sent).toMatch(/^\/ping\/key\/slug\/start\?(?:create=1&)?rid=[0-9a-f-]{36}$/);
    expect(healthchecks.pings).toMatchObject([{ kind: 'start' }]);
  });

  test('a check that is not there is a refusal, without the URL', async () => {
    const url = new Secret(healthchecks.receiver.url('/ping/00000000-0000-0000-0000-00000000000f'));
    await expect(tell([started('one')], { url })).rejects.toMatchObject({
      code: 'HOOK_REJECTED',
      message: 'the check of Healthchecks refused the event: 404: not found',
    });
  });

  test.each([
    ['OK (not found)', 'HOOK_REJECTED'],
    ['OK (rate limited)', 'HOOK_FAILED'],
  ])('older servers answer 200 and "%s"', async (body, code) => {
    healthchecks.receiver.respond = () => ({ status: 200, body });
    await expect(tell([started('one')])).rejects.toMatchObject({ code });
  });
});

test('options are strict', async () => {
  const url = new Secret('https://hc-ping.com/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278');
  expect(await optionFaults(plugin, { url })).toBeUndefined();
  expect(await optionFaults(plugin, { url: new Secret('http://healthchecks.internal/ping/x') })).toBeUndefined();
  for (const wrong of [
    { url: undefined },
    { url: 'text' },
    { fail: ['backup.started'] },
    { success: ['Backup'] },
    { uuid: 'x' },
  ]) {
    expect(await optionFaults(plugin, { url, ...wrong }), JSON.stringify(wrong)).toHaveLength(1);
  }
  expect(plugin.secrets).toEqual(['url']);
});
