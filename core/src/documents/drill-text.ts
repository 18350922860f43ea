/** What the commands that show backups say of their drills. */
import type { LastDrill } from '../archive/backup-drills.ts';
import { formatDuration, formatTime } from './format.ts';

/** For a table: `3d 4h ago`, `FAILED 2h 10m ago`; undefined for a backup that was never tried. */
export function provenText(drill: LastDrill, now: number = Date.now()): string | undefined {
  if (drill === undefined || drill === 'unknown') return drill;
  const age = formatDuration(Math.max(0, now - Date.parse(drill.finished)));
  return drill.outcome === 'proven' ? `${age} ago` : `FAILED ${age} ago`;
}

/** In a sentence. */
export function drillText(drill: LastDrill): string {
  if (drill === undefined) return 'never, see "pgark drill"';
  if (drill === 'unknown') return 'unknown: the repository could not say';
  const { outcome, finished, target, reached, host, phases, problem } = drill;
  const proven = outcome === 'proven';
  const parts = [
    `${proven ? 'at' : 'FAILED at'} ${formatTime(finished)} on ${host}`,
    `target ${target.text}`,
    ...(reached === undefined ? [] : [`up to ${reached.lsn}`]),
    ...(proven ? [`back in ${formatDuration(((phases.restore ?? 0) + (phases.recovery ?? 0)) * 1000)}`] : []),
  ];
  return parts.join(', ') + (problem === undefined ? '' : `: ${problem.message}`);
}
