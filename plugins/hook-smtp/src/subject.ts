import { oneLine, type ArchiveEvent } from '@pgark/sdk';

/** What a subject may name, in braces. `status` is the severity, or `recovered` where a condition ends. */
export const PLACEHOLDERS: ReadonlySet<string> = new Set(['cluster', 'host', 'name', 'severity', 'status', 'summary']);

const DEFAULT_SUBJECT = '[pgark {cluster}] {status}: {summary}';
/** A summary may hold the whole message of a server. */
const LONGEST = 250;

/** The subject of an event's mail: one line. What stands in the event is never read as a template. */
export function subjectOf(event: ArchiveEvent, template: string = DEFAULT_SUBJECT): string {
  const { cluster, host, name, severity, summary, condition } = event;
  const status = condition?.state === 'closed' ? 'recovered' : severity;
  const values: Readonly<Record<string, string>> = { cluster, host, name, severity, status, summary };
  return oneLine(
    template.replaceAll(/\{(\w+)\}/g, (whole, key: string) => values[key] ?? whole),
    LONGEST,
  );
}
