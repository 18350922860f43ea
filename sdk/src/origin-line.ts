import type { ArchiveEvent } from 'pgark/contracts';

/** How bad it is, where and when: the small line below the summary of an event, for messages to people. */
export function originLine({ severity, host, time, condition }: ArchiveEvent): string {
  const state = condition?.state === 'closed' ? 'recovered' : severity;
  return `${state} · ${host} · ${new Date(time).toISOString()}`;
}
