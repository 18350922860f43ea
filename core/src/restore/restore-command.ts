import type { RestorePlan } from './plan-types.ts';
import { shellCommand } from './quoting.ts';

/** The `restore_command` for a plan; `fetchCommand` as in {@link import('./restore.ts').RestoreOptions}. */
export function restoreCommand(
  { systemId, wal, timeline, standby }: RestorePlan,
  fetchCommand: readonly string[],
): string {
  // The plan knows of a hole and ends before it: what lies behind must not be taken for a loss.
  const until = wal.gap?.after === undefined ? [] : ['--until', wal.gap.after];
  // As recovery_target_timeline says, so that another promotion meanwhile changes nothing. A standby follows the newest one.
  const followed = standby ? [] : ['--timeline', String(timeline)];
  return shellCommand([...fetchCommand, '--system-id', systemId, ...followed, ...until], ['%f', '%p']);
}
