import type { Verified } from '../archive/backup-verified.ts';
import { formatDuration } from './format.ts';

/** `full, 3h 05m ago`, with `: DAMAGED` or `: not all` behind it. */
export function verifiedText(verified: Verified | undefined, now: number = Date.now()): string {
  if (verified === undefined || typeof verified === 'string') return verified ?? 'unknown';
  const { level, finished, verdict } = verified;
  const age = formatDuration(Math.max(0, now - Date.parse(finished)));
  const result = verdict === 'good' ? '' : verdict === 'damaged' ? ': DAMAGED' : ': not all could be checked';
  return `${level}, ${age} ago${result}`;
}
