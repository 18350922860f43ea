import { createHash } from 'node:crypto';
import { oneLine, type ArchiveEvent, type Severity } from '@pgark/sdk';

export type PagerDutySeverities = Readonly<Record<Severity, 'critical' | 'error' | 'warning' | 'info'>>;

/** PagerDuty's limits, in characters; a request has at most 512 KB. */
const MOST_SUMMARY = 1024;
const MOST_DEDUP_KEY = 255;
const MOST_DETAILS = 100_000;

/** What is sent for an event, but for the routing key; undefined when nobody is to be paged for it. */
export function pagerDutyAlert(event: ArchiveEvent, severities: PagerDutySeverities): object | undefined {
  const { condition, severity } = event;
  if (condition === undefined && severity === 'info') return undefined;
  return {
    event_action: condition?.state === 'closed' ? 'resolve' : 'trigger',
    // Without a condition the event's own id: then a second delivery opens no second alert.
    dedup_key: condition === undefined ? event.id.slice(0, MOST_DEDUP_KEY) : dedupKey(event, condition.key),
    client: 'pgark',
    payload: {
      summary: oneLine(`${event.cluster}: ${event.summary === '' ? event.name : event.summary}`, MOST_SUMMARY),
      source: oneLine(event.host, MOST_SUMMARY) || 'unknown host',
      severity: severities[severity],
      timestamp: new Date(event.time).toISOString(),
      component: 'postgresql',
      group: event.cluster,
      class: event.name,
      custom_details: { event: event.id, ...details(event) },
    },
  };
}

/** The same for all events of one condition of a cluster, on whichever host they arise. */
function dedupKey({ cluster }: ArchiveEvent, condition: string): string {
  const key = `pgark/${cluster}/${condition}`;
  if (key.length <= MOST_DEDUP_KEY) return key;
  const digest = createHash('sha256').update(key).digest('hex');
  return `${key.slice(0, MOST_DEDUP_KEY - digest.length - 1)}-${digest}`;
}

/** The list of backups of a large expiry could make the request too long. */
function details({ data }: ArchiveEvent): object {
  return JSON.stringify(data).length <= MOST_DETAILS ? { data } : { data: 'left out: too long' };
}
