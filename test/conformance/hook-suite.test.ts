import { describeHook, HOOK_CLAUSES, HttpHookReceiver, runHookClause, type HookSuiteOptions } from '@pgark/sdk/testing';
import { describe, expect, test } from 'vitest';
import { BROKEN_HOOKS } from '../support/broken-hooks.ts';
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

describe('the suite finds a hook that', () => {
  test.each(BROKEN_HOOKS)('$faults by $fails', async ({ faults, fails, options }) => {
    const clause = HOOK_CLAUSES.find((one) => one.id === fails);
    if (clause === undefined) throw new Error(`there is no clause ${fails}`);
    const result = await runHookClause(clause, { ...suite(faults), ...options, patience: 500 });
    expect(result.outcome, JSON.stringify(result)).toBe('failed');
  });
});

test('a gap in a clause that does not exist is refused', () => {
  expect(() => describeHook('x', { ...suite(), knownGaps: [{ id: 'HOOK-99', reason: 'none' }] })).toThrow('HOOK-99');
});
