import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { HookClauseSkipped, type HookClause, type HookClauseContext } from './clause.ts';
import type { HookBehaviour } from './receiver.ts';

export const FAILURE_CLAUSES: readonly HookClause[] = [
  {
    id: 'HOOK-02/before',
    title: 'HOOK-02 with a signal that has fired handle rejects and nothing is sent',
    async run(context) {
      const handling = context.hook.handle(context.event(), { signal: AbortSignal.abort() });
      await assert.rejects(context.withoutHanging(handling, 'handle with a signal that has fired'), notHanging);
      await context.stillness();
      assert.equal(await context.receiver.attempts(), 0, 'attempts');
    },
  },
  {
    id: 'HOOK-02/during',
    title: 'HOOK-02 handle rejects soon after the signal, and nothing more is sent',
    needs: ['hang'],
    async run(context) {
      const abort = new AbortController();
      const { outcome } = await context.handleHanging(abort.signal);
      abort.abort();
      const error = await context.withoutHanging(outcome, 'handle after an abort');
      assert.notEqual(error, undefined, 'handle resolved although it was aborted');
      await context.receiver.behave('accept');
      await context.stillness();
      assert.equal(await context.receiver.attempts(), 1, 'attempts');
      assert.equal((await context.received()).length, 0, 'deliveries');
    },
  },
  {
    id: 'HOOK-02/afterwards',
    title: 'HOOK-02 after an aborted delivery the next one works',
    needs: ['hang'],
    async run(context) {
      const abort = new AbortController();
      const { outcome } = await context.handleHanging(abort.signal);
      abort.abort();
      await context.withoutHanging(outcome, 'handle after an abort');
      await context.receiver.behave('accept');
      const event = context.event();
      await context.handle(event);
      context.assertIs((await context.receivedExactly(1, 'one event after an aborted one'))[0], event);
    },
  },
  {
    id: 'HOOK-03/rejected',
    title: 'HOOK-03 what the receiver refuses for good is HOOK_REJECTED',
    needs: ['reject'],
    async run(context) {
      await context.receiver.behave('reject');
      await context.failsWith('HOOK_REJECTED', false, 'the receiver refused it for good');
    },
  },
  {
    id: 'HOOK-03/failed',
    title: 'HOOK-03 what the receiver does not take now is HOOK_FAILED',
    needs: ['fail'],
    async run(context) {
      await context.receiver.behave('fail');
      await context.failsWith('HOOK_FAILED', true, 'the receiver failed');
    },
  },
  {
    id: 'HOOK-03/cut',
    title: 'HOOK-03 a delivery that is cut off is HOOK_FAILED',
    needs: ['cut'],
    async run(context) {
      await context.receiver.behave('cut');
      await context.failsWith('HOOK_FAILED', true, 'the receiver cut the connection');
    },
  },
  {
    id: 'HOOK-03/gone',
    title: 'HOOK-03 a receiver that is not there is HOOK_FAILED',
    async run(context) {
      await context.receiver.close();
      await context.failsWith('HOOK_FAILED', true, 'there is no receiver');
    },
  },
  {
    id: 'HOOK-06/secrets',
    title: 'HOOK-06 no error shows a secret',
    async run(context) {
      const { secrets = [] } = context.options;
      if (secrets.length === 0) throw new HookClauseSkipped('the suite was given no secrets');
      for (const behaviour of ['reject', 'fail', 'cut'] as const) {
        if (!can(context, behaviour)) continue;
        await context.receiver.behave(behaviour);
        assertSecret(await context.failureOf(context.event(), `the receiver does "${behaviour}"`), secrets);
      }
      await context.receiver.close();
      assertSecret(await context.failureOf(context.event(), 'there is no receiver'), secrets);
    },
  },
];

export function can({ options }: HookClauseContext, behaviour: HookBehaviour): boolean {
  return options.behaviours?.includes(behaviour) ?? true;
}

function notHanging(error: unknown): boolean {
  if (error instanceof assert.AssertionError) throw error;
  return true;
}

function assertSecret(error: unknown, secrets: readonly string[]): void {
  const shown = inspect(error, { depth: 20, showHidden: true, maxStringLength: Infinity, maxArrayLength: Infinity });
  const text = `${shown}\n${JSON.stringify(error, Object.getOwnPropertyNames(error))}`;
  for (const secret of secrets) {
    const base64 = Buffer.from(secret).toString('base64').replaceAll('=', '');
    for (const form of [secret, encodeURIComponent(secret), base64])
      assert.ok(!text.includes(form), `an error shows a secret: ${text.replaceAll(form, '<here>').slice(0, 2000)}`);
  }
}
