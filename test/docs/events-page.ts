import { EVENT_NAMES, EVENTS, exampleEvent } from '../../core/src/contracts/event-table.ts';
import type { EventName } from '../../core/src/contracts/hook.ts';
import { code, MADE, table } from './page.ts';

/** docs/reference/events.md */
export function eventsPage(): string {
  const rows = EVENT_NAMES.map((name) => {
    const { severity, condition } = exampleEvent(name);
    const marks = [
      ...(EVENTS[name].isGate === true ? ['gate'] : []),
      ...(EVENTS[name].isFleeting === true ? ['not kept'] : []),
    ];
    return [
      `[${code(name)}](#${name.replaceAll('.', '')})`,
      severity,
      condition === undefined ? '' : `${condition.state === 'open' ? 'opens' : 'closes'} ${code(condition.key)}`,
      marks.join(', '),
    ];
  });
  return `${MADE}

# Events

What hooks are told of: this list and no other. [Hooks](../how-to/hooks.md) says how they are chosen and delivered. Each event is

| Field | |
| --- | --- |
| \`id\` | a UUID; the same for each try of a delivery, so that a second delivery can be told from a second event |
| \`name\` | as below |
| \`time\` | epoch milliseconds |
| \`cluster\` | the name of the cluster in the config |
| \`host\` | the name of the machine that reports it |
| \`severity\` | \`critical\`: data is lost, damaged or unprotected, or may be soon, and somebody has to act now; \`warning\`: something does not work, or could not be looked at; \`info\`: everything else |
| \`summary\` | one line for people |
| \`condition\` | \`key\` and \`state\` (\`open\`, \`closed\`) where it begins or ends something that lasts; \`repeated\` says how many of its events were not told because they say the same |
| \`data\` | what is known beside that, see the examples |

Severity and condition below are those of the example; where they depend on the data, the text says so. A *gate* is told before the work that it
announces, and a hook with \`policy: fail\` may refuse it. What is *not kept* is not told later to a hook that cannot be told now.

${table(['Event', 'Severity', 'Condition', ''], rows)}

${EVENT_NAMES.map(section).join('\n\n')}
`;
}

function section(name: EventName): string {
  return `## ${name}\n\n${EVENTS[name].meaning}\n\n\`\`\`json\n${JSON.stringify(exampleEvent(name), undefined, 2)}\n\`\`\``;
}
