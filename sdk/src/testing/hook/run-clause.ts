import { HookClauseContext, HookClauseSkipped, type HookClause, type HookSuiteOptions } from './clause.ts';
import { LastingHandles } from './lasting-handles.ts';
import type { HookReceiver } from './receiver.ts';

/** What came of a clause. `reason` says why it was skipped. */
export type HookClauseResult =
  | { readonly outcome: 'passed' }
  | { readonly outcome: 'skipped'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly error: unknown };

/** Runs one clause on a hook and a receiver of its own. */
export async function runHookClause<Receiver extends HookReceiver>(
  clause: HookClause,
  { receiver: start, create, ...options }: HookSuiteOptions<Receiver>,
): Promise<HookClauseResult> {
  const lacking = clause.needs?.find((behaviour) => options.behaviours?.includes(behaviour) === false);
  if (lacking !== undefined) return { outcome: 'skipped', reason: `the receiver cannot "${lacking}"` };
  const handles = new LastingHandles();
  const receiver = await start();
  try {
    const hook = await create(receiver);
    const context = new HookClauseContext(hook, receiver, { ...options, handles });
    try {
      await clause.run(context);
    } finally {
      // A hook that fails a clause may fail here too: what was found before counts.
      await context.withoutHanging(hook.close(), 'close').catch(() => undefined);
    }
  } catch (error) {
    if (error instanceof HookClauseSkipped) return { outcome: 'skipped', reason: error.message };
    return { outcome: 'failed', error };
  } finally {
    await receiver.close();
    handles.end();
  }
  return { outcome: 'passed' };
}
