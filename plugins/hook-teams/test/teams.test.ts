import plugin from '@pgark/hook-teams';
import { EVENT_NAMES, exampleEvent, Secret, type ArchiveEvent } from '@pgark/sdk';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { configuredHook, optionFaults } from '../../../test/support/configured-hook.ts';
import type { HttpReceiver } from '../../../test/support/http-receiver.ts';
import { NASTY_TEXTS } from '../../../test/support/nasty-text.ts';
import { PATH, startTeams, type CardElement, type TeamsMessage } from './teams-server.ts';

const signal = new AbortController().signal;
let teams: HttpReceiver;
beforeAll(async () => {
  teams = await startTeams();
});
afterAll(() => teams.close());

/** The elements of the card that the channel gets. */
async function posted(event: ArchiveEvent): Promise<readonly CardElement[]> {
  const hook = await configuredHook(plugin, { url: new Secret(teams.url(PATH)) });
  await hook.handle(event, { signal });
  await hook.close();
  const message = JSON.parse(teams.received.at(-1)?.body ?? '') as TeamsMessage;
  expect(message.attachments[0]?.content.msteams?.entities, 'mentions').toBeUndefined();
  return message.attachments[0]?.content.body ?? [];
}

test.each(EVENT_NAMES)('Teams takes %s', async (name) => {
  const event = exampleEvent(name);
  const body = await posted(event);
  expect(body.map(({ inlines }) => inlines[0]?.text)).toEqual([
    `main: ${name}`,
    event.summary,
    `${event.condition?.state === 'closed' ? 'recovered' : event.severity} · backup1 · 2026-11-29T01:02:03.000Z`,
  ]);
  expect(body[0]?.id).toBe(event.id);
});

test('HOOK-06 text of an event is a run of text, in which Teams reads no Markdown, and fits', async () => {
  for (const text of NASTY_TEXTS) {
    const event = { ...exampleEvent('backup.failed'), cluster: text, host: text, summary: text };
    const body = await posted(event);
    // A `TextBlock` would be read as Markdown: the server refuses all but runs of text.
    expect(body).toHaveLength(3);
    for (const { inlines } of body) expect(inlines.map((run) => run.text).join('')).not.toMatch(/[\n\r\p{Cs}\u202E]/u);
  }
  const widest = '\uFFFF'.repeat(30_000);
  await posted({ ...exampleEvent('backup.failed'), cluster: widest, host: widest, summary: widest });
});

test('colours tell what is over from what is bad', async () => {
  const open = exampleEvent('wal.gap');
  const closed = { ...open, severity: 'info', condition: { key: 'gap', state: 'closed' } } as const;
  const seen = [];
  for (const event of [open, closed]) seen.push((await posted(event))[0]?.inlines[0]?.color);
  expect(seen).toEqual(['attention', 'good']);
});

test('a workflow that is gone is a refusal, without the URL', async () => {
  const hook = await configuredHook(plugin, { url: new Secret(teams.url('/workflows/1?sig=SIGNATUREsignature')) });
  await expect(hook.handle(exampleEvent('backup.failed'), { signal })).rejects.toMatchObject({
    code: 'HOOK_REJECTED',
    message: 'the workflow of Teams refused the event: 401',
  });
});

test('options are strict', async () => {
  const url = new Secret('https://prod.westeurope.logic.azure.com/workflows/1?sig=x');
  expect(await optionFaults(plugin, { url })).toBeUndefined();
  for (const wrong of [
    { url: undefined },
    { url: 'text' },
    { url: new Secret('http://x.example') },
    { channel: '1' },
  ]) {
    expect(await optionFaults(plugin, { url, ...wrong }), JSON.stringify(wrong)).toHaveLength(1);
  }
  expect(plugin.secrets).toEqual(['url']);
});
