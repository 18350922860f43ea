import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { HookClause } from './clause.ts';

export const CLOSE_CLAUSES: readonly HookClause[] = [
  {
    id: 'PLUGIN-02/lazy',
    title: 'PLUGIN-02 a hook that was made has opened nothing',
    async run(context) {
      await context.stillness();
      assert.equal(await context.receiver.attempts(), 0, 'attempts');
    },
  },
  {
    id: 'HOOK-07/idle',
    title: 'HOOK-07 close of a hook that was never used, and a second close, do nothing',
    async run(context) {
      await context.withoutHanging(context.hook.close(), 'close');
      await context.withoutHanging(context.hook.close(), 'a second close');
      assert.equal(await context.receiver.attempts(), 0, 'attempts');
    },
  },
  {
    id: 'HOOK-07/under-way',
    title: 'HOOK-07 close ends what is under way',
    needs: ['hang'],
    async run(context) {
      const { outcome } = await context.handleHanging(new AbortController().signal);
      await context.withoutHanging(context.hook.close(), 'close while an event is under way');
      const error = await context.withoutHanging(outcome, 'handle after close');
      assert.notEqual(error, undefined, 'handle resolved although the receiver had not answered');
    },
  },
  {
    id: 'HOOK-07/handles',
    title: 'HOOK-07 close leaves no handle open',
    async run(context) {
      for (let event = 0; event < 3; event += 1) await context.handle(context.event());
      await context.withoutHanging(context.hook.close(), 'close');
      await context.receiver.close();
      const left = (): readonly string[] => context.handles.left;
      await context
        .until(async () => {
          // The timer of the wait itself has an end first.
          await nextTurn();
          return left().length === 0;
        }, 'handles are left open after close')
        .catch((error: unknown) => {
          throw new assert.AssertionError({ message: `${(error as Error).message}: ${left().join(', ')}` });
        });
    },
  },
];
