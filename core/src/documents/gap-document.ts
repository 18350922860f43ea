import type { FoundGap } from '../archive/backup-gaps.ts';
import { formatLsn } from '../postgres/lsn.ts';

/** A gap for programs. */
export function gapDocument({
  timeline,
  toTimeline,
  from,
  to,
  repository,
}: FoundGap): Readonly<Record<string, unknown>> {
  return { repository, timeline, toTimeline, from: formatLsn(from), to: formatLsn(to) };
}
