import plugin from '@pgark/hook-discord';
import { EVENT_NAMES, exampleEvent, Secret, type ArchiveEvent } from '@pgark/sdk';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { configuredHook, optionFaults } from '../../../test/support/configured-hook.ts';
import type { HttpReceiver } from '../../../test/support/http-receiver.ts';
import { NASTY_TEXTS } from '../../../test/support/nasty-text.ts';
import { PATH, startDiscord, type DiscordMessage } from './discord-server.ts';

const signal = new AbortController().signal;
let discord: HttpReceiver;
beforeAll(async () => {
  discord = await startDiscord();
});
afterAll(() => discord.close());

/** What the channel gets. */
async function posted(event: ArchiveEvent, options: object = {}): Promise<DiscordMessage> {
  const hook = await configuredHook(plugin, { url: new Secret(discord.url(PATH)), ...options });
  await hook.handle(event, { signal });
  await hook.close();
  return JSON.parse(discord.received.at(-1)?.body ?? '') as DiscordMessage;
}

/** What Discord shows of Markdown in which all that could be markup is escaped; fails for markup. */
function shown(text: string): string {
  expect(text.replaceAll(/\\[^0-9A-Za-z\s]/g, ''), 'not escaped').not.toMatch(/[\\*_~`|<>#[\]()@:]/);
  return text.replaceAll(/\\([^0-9A-Za-z\s])/g, '$1');
}

test.each(EVENT_NAMES)('Discord takes %s', async (name) => {
  const event = exampleEvent(name);
  const { embeds, allowed_mentions: mentions } = await posted(event);
  expect(mentions).toEqual({ parse: [] });
  expect(embeds.map(({ title, description, footer }) => [shown(title), shown(description), footer.text])).toEqual([
    [`main: ${name}`, event.summary, event.id],
  ]);
  // Otherwise Discord says yes before it knows.
  expect(discord.received.at(-1)?.path).toBe(`${PATH}?wait=true`);
});

test('HOOK-06 text of an event mentions nobody, is no markup, and stays within the limits', async () => {
  for (const text of NASTY_TEXTS) {
    const event = { ...exampleEvent('backup.failed'), cluster: text, host: text, summary: text };
    const { embeds, allowed_mentions: mentions, content } = await posted(event);
    expect(mentions).toEqual({ parse: [] });
    expect(content).toBeUndefined();
    expect(embeds).toHaveLength(1);
    for (const { title, description, fields } of embeds) {
      for (const each of [title, description, ...fields.map(({ value }) => value)]) {
        shown(each.replace(/…$/, ''));
        expect(each).not.toMatch(/[\n\r\p{Cs}\u202E]/u);
      }
    }
  }
});

test('colours tell what is over from what is bad', async () => {
  const open = exampleEvent('wal.gap');
  const closed = { ...open, severity: 'info', condition: { key: 'gap', state: 'closed' } } as const;
  const colors = [open, { ...open, severity: 'warning' } as const, { ...open, severity: 'info' } as const, closed];
  const seen = [];
  for (const event of colors) seen.push((await posted(event)).embeds[0]?.color);
  expect(new Set(seen).size).toBe(4);
  expect((await posted(closed)).embeds[0]?.fields[0]).toMatchObject({ name: 'severity', value: 'recovered' });
});

test('a thread is named in the query', async () => {
  await posted(exampleEvent('backup.finished'), { thread: '1234567890' });
  expect(discord.received.at(-1)?.path).toBe(`${PATH}?wait=true&thread_id=1234567890`);
});

test('a webhook that is gone is a refusal, in the words of Discord and without the URL', async () => {
  const hook = await configuredHook(plugin, { url: new Secret(discord.url('/api/webhooks/1/tokentokentoken')) });
  await expect(hook.handle(exampleEvent('backup.failed'), { signal })).rejects.toMatchObject({
    code: 'HOOK_REJECTED',
    message: 'the webhook of Discord refused the event: 404: Unknown Webhook (10015)',
  });
});

test('a rate limit is a failure that says when to come again', async () => {
  const { respond } = discord;
  discord.respond = () => ({
    status: 429,
    headers: { 'retry-after': '3' },
    body: '{"message":"You are being rate limited."}',
  });
  const hook = await configuredHook(plugin, { url: new Secret(discord.url(PATH)) });
  await expect(hook.handle(exampleEvent('backup.failed'), { signal })).rejects.toMatchObject({
    code: 'HOOK_FAILED',
    details: { status: 429, retryAfter: 3 },
  });
  discord.respond = respond;
});

test('options are strict', async () => {
  const url = new Secret('https://discord.com/api/webhooks/1/token');
  expect(await optionFaults(plugin, { url, thread: '123' })).toBeUndefined();
  for (const wrong of [
    { url: undefined },
    { url: 'text' },
    { url: new Secret('http://discord.com/x') },
    { thread: '1&x=y' },
    { thred: '1' },
  ]) {
    expect(await optionFaults(plugin, { url, ...wrong }), JSON.stringify(wrong)).toHaveLength(1);
  }
  expect(plugin.secrets).toEqual(['url']);
});
