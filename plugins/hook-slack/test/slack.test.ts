import { EVENT_NAMES, exampleEvent, Secret, type ArchiveEvent } from '@pgark/sdk';
import plugin from '@pgark/hook-slack';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configuredHook, optionFaults } from '../../../test/support/configured-hook.ts';
import type { HttpReceiver } from '../../../test/support/http-receiver.ts';
import { NASTY_TEXTS } from '../../../test/support/nasty-text.ts';
import { PATH, startSlack, type SlackMessage } from './slack-server.ts';

const signal = new AbortController().signal;
let slack: HttpReceiver;
beforeAll(async () => {
  slack = await startSlack();
});
afterAll(() => slack.close());

/** What the channel gets. */
async function posted(event: ArchiveEvent, options: object = {}): Promise<SlackMessage> {
  const hook = await configuredHook(plugin, { url: new Secret(slack.url(PATH)), ...options });
  await hook.handle(event, { signal });
  await hook.close();
  return JSON.parse(slack.received.at(-1)?.body ?? '') as SlackMessage;
}

test.each(EVENT_NAMES)('Slack takes %s', async (name) => {
  const event = exampleEvent(name);
  const message = await posted(event);
  expect(message.text).toContain('main: ');
  expect(message.blocks[0]).toMatchObject({ type: 'header', block_id: event.id });
  expect(message.blocks[1]?.text?.text).toBe(event.summary.replaceAll('>', '&gt;'));
});

test('HOOK-06 text of an event cannot mention, link, format or add a block', async () => {
  for (const text of NASTY_TEXTS) {
    const event = { ...exampleEvent('wal.gap'), cluster: text, host: text, summary: text };
    const message = await posted(event, { mention: ['here'] });
    expect(message.blocks.map(({ type }) => type)).toEqual(['header', 'section', 'section', 'context']);
    const texts = [
      message.text,
      ...message.blocks.flatMap(({ text, elements }) => [text, ...(elements ?? [])].map((each) => each?.text ?? '')),
    ];
    // What is between < and > comes from the config.
    expect(texts.flatMap((each) => each.match(/[<>]|<[^>]*>/g) ?? [])).toEqual(['<', '>']);
    expect(texts.join('').replaceAll(/&(?:amp|lt|gt);/g, ''), 'an entity is cut').not.toContain('&');
    expect(texts.join('')).not.toMatch(/[\n\r\p{Cs}\u202E]/u);
    expect(message.blocks.flatMap(({ text }) => (text?.type === 'mrkdwn' ? [text.text] : []))).toEqual(['<!here>']);
  }
});

describe('mention', () => {
  const mention = ['channel', 'U012ABCDEF', 'S012ABCDEF'];
  const open = exampleEvent('wal.gap');

  test('when something critical begins', async () => {
    expect(open.severity).toBe('critical');
    const { blocks } = await posted(open, { mention });
    expect(blocks[2]?.text?.text).toBe('<!channel> <@U012ABCDEF> <!subteam^S012ABCDEF>');
  });

  test('not for a warning, not when it is over, and not unless asked for', async () => {
    for (const [event, options] of [
      [{ ...open, severity: 'warning' }, { mention }],
      [{ ...open, condition: { key: 'gap', state: 'closed' } }, { mention }],
      [open, {}],
    ] as const) {
      expect(JSON.stringify(await posted(event, options))).not.toMatch(/<[!@]/);
    }
  });

  test('what is over has another sign', async () => {
    const closed = { ...open, severity: 'info', condition: { key: 'gap', state: 'closed' } } as const;
    expect((await posted(closed)).text).toMatch(/^✅ /);
    expect((await posted(open)).text).toMatch(/^🔴 /);
  });
});

test('a webhook that is gone is a refusal, in the words of Slack and without the URL', async () => {
  const hook = await configuredHook(plugin, { url: new Secret(slack.url('/services/T00000000/B00000000/YYYYYYYY')) });
  await expect(hook.handle(exampleEvent('backup.failed'), { signal })).rejects.toMatchObject({
    code: 'HOOK_REJECTED',
    message: 'the webhook of Slack refused the event: 404: no_service',
  });
});

test('options are strict', async () => {
  const url = new Secret('https://hooks.slack.com/services/T/B/X');
  expect(await optionFaults(plugin, { url, mention: ['here', 'U012ABCDEF'] })).toBeUndefined();
  expect(await optionFaults(plugin, { url: new Secret('http://hooks.slack.com/services/T/B/SECRET') })).toEqual([
    'url: must begin with https://: whoever sees the URL can use it',
  ]);
  for (const wrong of [
    { url: undefined },
    { url: 'text' },
    { mention: ['<!here>'] },
    { mention: ['@bob'] },
    { chanel: 'x' },
  ]) {
    expect(await optionFaults(plugin, { url, ...wrong }), JSON.stringify(wrong)).toHaveLength(1);
  }
  expect(plugin.secrets).toEqual(['url']);
});
