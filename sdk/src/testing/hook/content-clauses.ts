import assert from 'node:assert/strict';
import { EVENT_NAMES, exampleEvent, type ArchiveEvent } from 'pgark/contracts';
import type { HookClause } from './clause.ts';

/** What text of servers and storages may look like, and would do if it were taken for more than text. */
const HOSTILE = [
  '\r\nBcc: somebody@example.org\r\n\r\n',
  '"},"injected":true,"x":{"y":"',
  "'; --",
  '</text><script>alert(1)</script>',
  '${HOME} $(id) `id` %PATH% %s {{summary}}',
  '\\u0000 \\ \\\\"',
  '\u0000\u0007\u001b[31m',
  '@everyone <@123> <!channel> <https://example.org|click> [click](https://example.org) *b* _i_ ~s~',
  '\r\n.\r\nMAIL FROM:<somebody@example.org>\r\n',
];

export const CONTENT_CLAUSES: readonly HookClause[] = [
  {
    id: 'HOOK-05/every',
    title: 'HOOK-05 every event of the closed list is taken',
    async run(context) {
      const events = EVENT_NAMES.map((name): ArchiveEvent => exampleEvent(name, { id: crypto.randomUUID() }));
      const sent = events.filter((event) => context.sends(event));
      for (const event of events) await context.handle(event);
      const all = await context.receivedExactly(sent.length, 'all events');
      for (const [at, event] of sent.entries()) context.assertIs(all[at], event);
    },
  },
  {
    id: 'HOOK-05/unknown',
    title: 'HOOK-05 an event of a later version is taken',
    async run(context) {
      const event = {
        ...context.event(),
        name: 'later.event',
        summary: 'something of a later version',
        condition: { key: 'later', state: 'open', later: [1] },
        data: { list: [{ nested: true }], number: 1.5, absent: undefined },
      } as unknown as ArchiveEvent;
      await context.handle(event);
      const [delivery] = await context.received();
      if (delivery !== undefined) context.assertIs(delivery, event);
    },
  },
  {
    id: 'HOOK-05/long',
    title: 'HOOK-05 an event with very long texts is taken',
    async run(context) {
      const long = 'ä😀 '.repeat(20_000);
      const event = context.event();
      await context.handle(withText(event, long));
      const all = await context.receivedExactly(1, 'an event with very long texts');
      if (context.options.carriesId !== false) assert.equal(all[0]?.id, event.id, 'the id did not go along with it');
    },
  },
  {
    id: 'HOOK-06/structure',
    title: 'HOOK-06 text of events does not change the structure of the message',
    async run(context) {
      const event = context.event();
      const again = (text: string): ArchiveEvent => withText({ ...event, id: crypto.randomUUID() }, text);
      await context.handle(again('harmless'));
      const shape = (await context.receivedExactly(1, 'a harmless event'))[0]?.shape;
      for (const [at, text] of HOSTILE.entries()) {
        await context.handle(again(`a${text}b`));
        const all = await context.receivedExactly(at + 2, `an event with the text ${JSON.stringify(text)}`);
        assert.equal(all.at(-1)?.shape, shape, `the structure with the text ${JSON.stringify(text)}`);
      }
    },
  },
  {
    id: 'HOOK-06/active',
    title: 'HOOK-06 text of events does nothing at the receiver',
    async run(context) {
      for (const text of context.options.active ?? []) {
        const before = (await context.received()).length;
        await context.handle(withText(context.event(), `a ${text} b`));
        const delivery = (await context.receivedExactly(before + 1, `an event with ${text}`)).at(-1);
        assert.ok(!delivery?.text.includes(text), `what was sent has ${text} as it is`);
      }
    },
  },
];

/** The event with this in every text. */
function withText(event: ArchiveEvent, text: string): ArchiveEvent {
  return {
    ...event,
    host: `host${text}`,
    summary: `summary ${text}`,
    data: replaced(event.data, text) as ArchiveEvent['data'],
    ...(event.condition !== undefined && { condition: { ...event.condition, key: `storage:${text}` } }),
  };
}

function replaced(value: unknown, text: string): unknown {
  if (typeof value === 'string') return `${value}${text}`;
  if (Array.isArray(value)) return value.map((item) => replaced(item, text));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, replaced(item, text)]));
}
