/** What the retention policy comes to, for programs. */
import { explain } from '../retention/decision.ts';
import type { ExpirePlan, ExpireResult } from '../retention/expire.ts';
import type { WalStretch } from '../retention/wal-stretches.ts';

/** A plan, and what came of it. */
export function expireDocument(plan: ExpirePlan, result?: ExpireResult): Readonly<Record<string, unknown>> {
  return {
    repository: plan.repository,
    confirmed: result !== undefined,
    backups: plan.backups.map((decision) => ({ ...decision, text: explain(decision) })),
    wal: plan.wal.map((stretch) => ({ ...stretch, text: explainWal(stretch) })),
    notes: plan.notes,
    ...(result === undefined ? {} : { done: doneDocument(result) }),
  };
}

function doneDocument({ removed, locked, objects, bytes, retained }: ExpireResult): Readonly<Record<string, unknown>> {
  return { removed, locked, objects, bytes, retained };
}

/** The sentence of a stretch: `kept because ...`. */
export function explainWal({ action, reason }: WalStretch): string {
  return `${action === 'keep' ? 'kept' : 'removed'} because ${reason}`;
}
