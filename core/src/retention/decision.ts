/** What a plan says of a backup, with its reason. */
import type { CalendarRule } from './policy.ts';

/** Why something stays. */
export type KeepRule =
  | 'no-policy'
  | 'no-limit'
  | 'window'
  | 'anchor'
  | 'keep'
  | 'minimum'
  | CalendarRule
  | 'pin'
  | 'proven'
  | 'last'
  | 'lease'
  | 'locked'
  | 'parent'
  | 'unreadable'
  | 'incomplete';

/** Why something goes: no rule keeps it, it was asked for, or its removal had begun before. */
export type RemoveRule = 'no-rule' | 'asked' | 'expired';

export interface KeepReason {
  readonly rule: KeepRule;
  /** What follows `kept because`. */
  readonly text: string;
  /** Of a backup that only ends a superseded line: the timeline of the line. */
  readonly line?: number;
}

export type BackupDecision = {
  readonly id: string;
  readonly systemId: string;
  /** As in `state.ts`. */
  readonly state: 'complete' | 'incomplete' | 'unreadable' | 'expired';
  readonly label: string | undefined;
  /** ISO 8601. */
  readonly stopTime: string | undefined;
  readonly objects: number;
  /** As stored. */
  readonly bytes: number;
} & (
  | { readonly action: 'keep'; readonly reasons: readonly KeepReason[] }
  | { readonly action: 'remove'; readonly rule: RemoveRule; readonly reason: string }
);

/** The sentence of a decision: `kept because ...`, `removed because ...`. */
export function explain(decision: BackupDecision): string {
  if (decision.action === 'remove') return `removed because ${decision.reason}`;
  return `kept because ${decision.reasons.map(({ text }) => text).join('; ')}`;
}
