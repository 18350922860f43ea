import { describe, test } from 'vitest';
import type { HookSuiteOptions } from './clause.ts';
import { HOOK_CLAUSES } from './hook-clauses.ts';
import type { HookReceiver } from './receiver.ts';
import { runHookClause } from './run-clause.ts';

/**
 * Defines the conformance tests of a hook, one or more for each promise of the contract, against a real receiver of its protocol.
 *
 * @example
 * describeHook('webhook', {
 *   receiver: () => HttpHookReceiver.start({ id: ({ headers }) => headers['x-pgark-event'] }),
 *   create: ({ url }) => new WebhookHook({ url, secret: new Secret('s3cret') }, context),
 *   secrets: ['s3cret'],
 * });
 */
export function describeHook<Receiver extends HookReceiver>(name: string, options: HookSuiteOptions<Receiver>): void {
  const gaps = new Map(options.knownGaps?.map(({ id, reason }) => [id, reason]));
  for (const id of gaps.keys()) {
    if (!HOOK_CLAUSES.some((clause) => clause.id === id)) throw new Error(`knownGaps names ${id}, which is no clause`);
  }
  describe(`hook ${name}`, () => {
    for (const clause of HOOK_CLAUSES) {
      test(`${clause.title} [${clause.id}]`, { timeout: options.timeout ?? 30_000 }, async ({ skip }) => {
        const gap = gaps.get(clause.id);
        if (gap !== undefined) return skip(`known gap: ${gap}`);
        const result = await runHookClause(clause, options);
        if (result.outcome === 'skipped') return skip(result.reason);
        if (result.outcome === 'failed') throw result.error;
      });
    }
  });
}
