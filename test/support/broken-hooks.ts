/** Hooks that each break one promise of the contract: the conformance suite has to find every one of them. */
import type { HookSuiteOptions } from '@pgark/sdk/testing';
import type { HttpHookFaults } from './http-hook.ts';

export interface BrokenHook {
  readonly faults: HttpHookFaults;
  /** A clause that finds it. */
  readonly fails: string;
  /** What the receiver takes for more than text. */
  readonly options?: Pick<HookSuiteOptions, 'active'>;
}

export const BROKEN_HOOKS: readonly BrokenHook[] = [
  { faults: { isHasty: true }, fails: 'HOOK-01/delivered' },
  { faults: { doubles: true }, fails: 'HOOK-01/order' },
  { faults: { isBusy: true }, fails: 'HOOK-01/at-once' },
  { faults: { isHasty: true }, fails: 'HOOK-01/answered' },
  { faults: { retries: true }, fails: 'HOOK-01/no-retry' },
  { faults: { swallows: true }, fails: 'HOOK-01/no-retry' },
  { faults: { hoards: true }, fails: 'HOOK-01/after-failure' },
  { faults: { hasNewIds: true }, fails: 'HOOK-04/again' },
  { faults: { hasShortTexts: true }, fails: 'HOOK-01/delivered' },
  { faults: { ignoresSignal: true }, fails: 'HOOK-02/before' },
  { faults: { ignoresSignal: true }, fails: 'HOOK-02/during' },
  { faults: { sendsAfterAbort: true }, fails: 'HOOK-02/during' },
  { faults: { isBrokenByAbort: true }, fails: 'HOOK-02/afterwards' },
  { faults: { neverRejectsForGood: true }, fails: 'HOOK-03/rejected' },
  { faults: { rejectsForGood: true }, fails: 'HOOK-03/failed' },
  { faults: { throwsPlainErrors: true }, fails: 'HOOK-03/cut' },
  { faults: { swallows: true }, fails: 'HOOK-03/gone' },
  { faults: { leavesOut: 'key.unreadable' }, fails: 'HOOK-05/every' },
  { faults: { throwsAtUnknown: true }, fails: 'HOOK-05/unknown' },
  { faults: { refusesLong: true }, fails: 'HOOK-05/long' },
  { faults: { pastesText: true }, fails: 'HOOK-06/structure' },
  { faults: {}, options: { active: ['<!channel>'] }, fails: 'HOOK-06/active' },
  { faults: { showsSecret: true }, fails: 'HOOK-06/secrets' },
  { faults: { connectsAtOnce: true }, fails: 'PLUGIN-02/lazy' },
  { faults: { hangsAtClose: true }, fails: 'HOOK-07/idle' },
  { faults: { forgetsUnderWay: true }, fails: 'HOOK-07/under-way' },
  { faults: { leavesTimer: true }, fails: 'HOOK-07/handles' },
];
