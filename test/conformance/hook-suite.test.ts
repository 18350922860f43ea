import { describeHook, HOOK_CLAUSES, HttpHookReceiver, runHookClause, type HookSuiteOptions } from '@pgark/sdk/testing';
import { describe, expect, test } from 'vitest';
import { HttpHook, type HttpHookFaults } from '../support/http-hook.ts';

const SECRET = 'hush-hush/42';

function suite(faults: HttpHookFaults = {}): HookSuiteOptions<HttpHookReceiver> {
  return {
    receiver: () => HttpHookReceiver.start(),
    create: ({ url }) => new HttpHook(url, SECRET, faults),
    secrets: [SECRET],
  };
}

describeHook('that is right', suite());

/** Each fault, and a clause that finds it. */
const FOUND: readonly (readonly [HttpHookFaults, string])[] = [
  [{ isHasty: true }, 'HOOK-01/delivered'],
  [{ doubles: true }, 'HOOK-01/order'],
  [{ isBusy: true }, 'HOOK-01/at-once'],
  [{ isHasty: true }, 'HOOK-01/answered'],
  [{ retries: true }, 'HOOK-01/no-retry'],
  [{ swallows: true }, 'HOOK-01/no-retry'],
  [{ hoards: true }, 'HOOK-01/after-failure'],
  [{ hasNewIds: true }, 'HOOK-04/again'],
  [{ ignoresSignal: true }, 'HOOK-02/before'],
  [{ ignoresSignal: true }, 'HOOK-02/during'],
  [{ sendsAfterAbort: true }, 'HOOK-02/during'],
  [{ isBrokenByAbort: true }, 'HOOK-02/afterwards'],
  [{ neverRejectsForGood: true }, 'HOOK-03/rejected'],
  [{ rejectsForGood: true }, 'HOOK-03/failed'],
  [{ throwsPlainErrors: true }, 'HOOK-03/cut'],
  [{ swallows: true }, 'HOOK-03/gone'],
  [{ leavesOut: 'key.unreadable' }, 'HOOK-05/every'],
  [{ throwsAtUnknown: true }, 'HOOK-05/unknown'],
  [{ pastesText: true }, 'HOOK-06/structure'],
  [{ showsSecret: true }, 'HOOK-06/secrets'],
  [{ connectsAtOnce: true }, 'PLUGIN-02/lazy'],
  [{ hangsAtClose: true }, 'HOOK-07/idle'],
  [{ forgetsUnderWay: true }, 'HOOK-07/under-way'],
  [{ leavesTimer: true }, 'HOOK-07/handles'],
];

describe('the suite finds a hook that', () => {
  test.each(FOUND)('%j by %s', async (faults, id) => {
    const clause = HOOK_CLAUSES.find((one) => one.id === id);
    if (clause === undefined) throw new Error(`there is no clause ${id}`);
    const result = await runHookClause(clause, { ...suite(faults), patience: 500 });
    expect(result.outcome, JSON.stringify(result)).toBe('failed');
  });
});

test('a gap in a clause that does not exist is refused', () => {
  expect(() => describeHook('x', { ...suite(), knownGaps: [{ id: 'HOOK-99', reason: 'none' }] })).toThrow('HOOK-99');
});
