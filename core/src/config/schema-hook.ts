/** The keys of a hook that are pgark's own; those of the plugin stand beside them. */
import * as z from 'zod';
import { EVENT_NAMES, exampleEvent, isGate } from '../contracts/event-table.ts';
import type { EventName, Severity } from '../contracts/hook.ts';
import { choice, count, duration, NAME, nameMessage, size, text, use } from './schema-types.ts';

const EVENTS = EVENT_NAMES as readonly [EventName, ...EventName[]];
/** From the least to the worst. */
const SEVERITIES = ['info', 'warning', 'critical'] as const satisfies readonly Severity[];
const GATES = EVENT_NAMES.filter(isGate).map((name) => exampleEvent(name));
const namesOf = (events: readonly { readonly name: EventName }[]): string => events.map(({ name }) => name).join(', ');

const anyHook = z.looseObject(
  {
    use,
    name: text()
      .regex(NAME, nameMessage)
      .optional()
      .describe(
        'Its name in messages and in the spool; without it, that of the plugin, with a number where it is used twice.',
      ),
    events: z
      .array(choice(EVENTS))
      .min(1)
      .optional()
      .describe('Events that it is told of; without it, all. The end of what it was told of is always told.'),
    severity: choice(SEVERITIES).default('info').describe('The least severity that it is told of.'),
    quiet: duration({ least: '0s', most: '4w' })
      .prefault('1h')
      .describe(
        'Time in which a condition that stays, such as an outage, is told once; `0s` tells each of its events.',
      ),
    policy: choice(['warn', 'fail'])
      .default('warn')
      .describe(
        '`fail`: it is asked before a backup is taken or anything is removed, and where it fails that is not done.',
      ),
    timeout: duration({ least: '100ms', most: '1h' }).prefault('10s').describe('Time for one delivery.'),
    retries: count(0, 20)
      .default(2)
      .describe('Further tries after a failed delivery. What then waits is tried again until it is told.'),
    spool: size({ least: '64KiB' })
      .prefault('8MiB')
      .describe('How much may wait for it, beside the spool of the receiver, while it cannot be told.'),
  },
  { error: 'must be a section with "use"' },
);

/** A gate that is never asked would only seem to guard something. */
function asksAll({ policy, events, severity }: z.infer<typeof anyHook>, context: z.RefinementCtx): void {
  if (policy !== 'fail') return;
  const asked = GATES.filter(({ name }) => events?.includes(name) ?? true);
  const unasked = asked.filter((gate) => SEVERITIES.indexOf(gate.severity) < SEVERITIES.indexOf(severity));
  if (asked.length === 0) {
    const message = `has no event that a hook with "policy: fail" is asked about: ${namesOf(GATES)}`;
    context.addIssue({ code: 'custom', path: ['events'], message });
  } else if (unasked.length > 0) {
    const message = `keeps a hook with "policy: fail" from being asked about ${namesOf(unasked)}`;
    context.addIssue({ code: 'custom', path: ['severity'], message });
  }
}

/** One section of `hooks`. */
export const hook: z.ZodType<{ readonly name?: string | undefined }, object> = anyHook.superRefine(asksAll);
