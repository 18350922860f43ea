/**
 * One outage is one message, and its end another. Pure: what one hook knows of a condition, and what it is told next.
 *
 * What a hook was told is always right in the end: a condition that opens again soon after it was closed is told when the quiet time is over,
 * if it is still open then.
 */
import type { ArchiveEvent, EventCondition, Severity } from '../contracts/hook.ts';

/** What one hook was told of one condition. Plain JSON: it is kept in a file. */
export interface ToldCondition {
  readonly key: string;
  readonly told: 'open' | 'closed';
  /** When its opening was told last, epoch milliseconds. */
  readonly since: number;
  /** Of what was told. */
  readonly severity: Severity;
  /** Events since then that were not told. */
  readonly folded: number;
  /** It is open again, and is told when the quiet time is over. */
  readonly pending?: ArchiveEvent;
}

export interface Folded {
  /** What is known from now on; undefined when nothing needs to be. */
  readonly state: ToldCondition | undefined;
  readonly send?: ArchiveEvent;
}

export interface FoldOptions {
  /** Whether the hook asks for this event by its name and severity. An end is told to whoever was told of the beginning. */
  readonly wanted: boolean;
  /** Milliseconds in which the same is told once. */
  readonly quiet: number;
}

const RANK: Readonly<Record<Severity, number>> = { info: 0, warning: 1, critical: 2 };

/** Whether a severity is at least another one. */
export function isAtLeast(severity: Severity, least: Severity): boolean {
  return RANK[severity] >= RANK[least];
}

/** What an event of a condition changes. */
export function fold(state: ToldCondition | undefined, event: ArchiveEvent, options: FoldOptions): Folded {
  const { condition } = event;
  if (condition === undefined) return { state, ...(options.wanted && { send: event }) };
  return condition.state === 'open'
    ? opened(state, event, condition, options)
    : closed(state, event, condition, options);
}

/** What is told now that time has passed; with `end`, because nobody will look later. */
export function due(state: ToldCondition, { now, quiet, end }: DueOptions): Folded {
  const { pending } = state;
  if (pending?.condition === undefined || (!end && isQuiet(state, now, quiet))) return { state };
  return tell(pending, pending.condition, { folded: state.folded, now });
}

export interface DueOptions {
  /** Epoch milliseconds. */
  readonly now: number;
  readonly quiet: number;
  readonly end: boolean;
}

function opened(
  state: ToldCondition | undefined,
  event: ArchiveEvent,
  condition: EventCondition,
  { wanted, quiet }: FoldOptions,
): Folded {
  if (!wanted) return { state };
  const now = event.time;
  const isWorse =
    state === undefined || (event.severity !== state.severity && isAtLeast(event.severity, state.severity));
  if (state === undefined || isWorse || !isQuiet(state, now, quiet))
    return tell(event, condition, { folded: state?.folded ?? 0, now });
  const folded = state.folded + 1;
  if (state.told === 'open') return { state: { ...state, folded } };
  // The count is of those before: this one is still to be told.
  return { state: { ...state, folded: state.pending === undefined ? state.folded : folded, pending: event } };
}

function closed(
  state: ToldCondition | undefined,
  event: ArchiveEvent,
  condition: EventCondition,
  { wanted, quiet }: FoldOptions,
): Folded {
  const isRecent = state !== undefined && isQuiet(state, event.time, quiet);
  if (state?.told === 'open') {
    const send = withRepeated(event, condition, state.folded);
    return { send, state: isRecent ? { ...state, told: 'closed', folded: 0 } : undefined };
  }
  if (state?.pending !== undefined) {
    // Neither its beginning nor its end was told, and what the hook knows is right.
    const { pending: _, ...rest } = state;
    return { state: { ...rest, folded: state.folded + 2 } };
  }
  return { state: isRecent ? state : undefined, ...(wanted && { send: event }) };
}

function tell(
  event: ArchiveEvent,
  condition: EventCondition,
  { folded, now }: { readonly folded: number; readonly now: number },
): Folded {
  const { severity } = event;
  return {
    send: withRepeated(event, condition, folded),
    state: { key: condition.key, told: 'open', since: now, severity, folded: 0 },
  };
}

/** A clock that was put back is no reason to be silent. */
function isQuiet({ since }: ToldCondition, now: number, quiet: number): boolean {
  return now >= since && now - since < quiet;
}

function withRepeated(event: ArchiveEvent, condition: EventCondition, repeated: number): ArchiveEvent {
  if (repeated === 0) return event;
  const summary = `${event.summary} (${repeated} more since the last message)`;
  return { ...event, summary, condition: { ...condition, repeated } };
}
