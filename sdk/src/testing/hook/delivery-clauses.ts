import assert from 'node:assert/strict';
import type { HookClause } from './clause.ts';

export const DELIVERY_CLAUSES: readonly HookClause[] = [
  {
    id: 'HOOK-01/delivered',
    title: 'HOOK-01 an event is delivered once when handle resolves',
    async run(context) {
      const event = context.event();
      await context.handle(event);
      // Looked at without waiting: resolved means that it is there.
      const [delivery, ...more] = await context.received();
      context.assertIs(delivery, event);
      assert.deepEqual(more, [], 'there is one delivery');
      assert.equal(await context.receiver.attempts(), 1, 'attempts');
    },
  },
  {
    id: 'HOOK-01/order',
    title: 'HOOK-01 events that are handed over one after the other arrive in this order',
    async run(context) {
      const events = Array.from({ length: 5 }, () => context.event());
      for (const event of events) await context.handle(event);
      const all = await context.receivedExactly(events.length, 'five events');
      for (const [at, event] of events.entries()) context.assertIs(all[at], event);
    },
  },
  {
    id: 'HOOK-01/at-once',
    title: 'HOOK-01 events that are handed over at once are each delivered once',
    async run(context) {
      const events = Array.from({ length: 5 }, () => context.event());
      await Promise.all(events.map((event) => context.handle(event)));
      const all = await context.receivedExactly(events.length, 'five events at once');
      if (context.options.carriesId === false) return;
      assert.deepEqual(new Set(all.map(({ id }) => id)), new Set(events.map(({ id }) => id)));
    },
  },
  {
    id: 'HOOK-01/answered',
    title: 'HOOK-01 handle does not resolve before the receiver has answered',
    needs: ['hang'],
    async run(context) {
      const abort = new AbortController();
      const { outcome, isEnded } = await context.handleHanging(abort.signal);
      await context.stillness();
      const early = isEnded();
      abort.abort();
      assert.equal(early, false, 'handle came to an end although the receiver had not answered');
      await context.withoutHanging(outcome, 'handle after an abort');
    },
  },
  {
    id: 'HOOK-01/no-retry',
    title: 'HOOK-01 a failed delivery is tried once',
    needs: ['fail'],
    async run(context) {
      await context.receiver.behave('fail');
      await context.failureOf(context.event(), 'the receiver failed');
      await context.stillness();
      assert.equal(await context.receiver.attempts(), 1, 'attempts');
    },
  },
  {
    id: 'HOOK-01/after-failure',
    title: 'HOOK-01 after a failure the next event is delivered, and the failed one is not sent by itself',
    needs: ['fail'],
    async run(context) {
      await context.receiver.behave('fail');
      await context.failureOf(context.event(), 'the receiver failed');
      await context.receiver.behave('accept');
      const event = context.event();
      await context.handle(event);
      await context.stillness();
      const all = await context.receivedExactly(1, 'one event after a failed one');
      context.assertIs(all[0], event);
    },
  },
  {
    id: 'HOOK-04/again',
    title: 'HOOK-04 an event may be handed over again, and has the same id each time',
    async run(context) {
      const event = context.event();
      await context.handle(event);
      await context.handle(event);
      const all = await context.received();
      assert.ok(all.length >= 1, 'it was delivered');
      for (const delivery of all) context.assertIs(delivery, event);
    },
  },
];
