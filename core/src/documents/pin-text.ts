/** What is shown of a pin. */
import type { Pin } from '../retention/backup-facts.ts';
import { formatTime } from './format.ts';

/** `before the upgrade (until 2027-01-31 00:00:00Z)` */
export function pinText({ reason, until }: Pin): string {
  return until === undefined ? reason : `${reason} (until ${formatTime(until)})`;
}
