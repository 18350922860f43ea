/** The plan of a restore for programs. */
import { formatLsn } from '../postgres/lsn.ts';
import type { RestorePlan } from '../restore/plan-types.ts';
import type { Setting } from '../restore/recovery-settings.ts';
import { describeTarget } from '../restore/target.ts';
import { formatMoment } from '../restore/time-text.ts';

/** LSNs and times are text, sizes bytes. */
export function planDocument(plan: RestorePlan, settings: readonly Setting[]): Readonly<Record<string, unknown>> {
  const { backup, wal, goal, target } = plan;
  const time = (micros: bigint | undefined): string | undefined =>
    micros === undefined ? undefined : formatMoment(micros);
  const lsn = (value: bigint | undefined): string | undefined => (value === undefined ? undefined : formatLsn(value));
  return {
    reachable: plan.problems.length === 0,
    cluster: plan.cluster,
    systemId: plan.systemId,
    serverVersion: backup.serverVersion,
    target: { kind: target.kind, text: describeTarget(target), lsn: lsn(goal?.lsn), time: time(goal?.micros) },
    action: plan.action,
    standby: plan.standby,
    repositories: plan.sources.repositories.map(({ name }) => name),
    backup: {
      id: backup.id,
      repositories: plan.copies.map(({ repository }) => repository.name),
      stopLsn: backup.stopLsn,
      stopTime: backup.stopTime,
      timeline: backup.stopTimeline,
    },
    timeline: plan.timeline,
    path: plan.path.map(({ timeline, start, end }) => ({ timeline, start: lsn(start), end: lsn(end) })),
    wal: {
      segments: wal.pieces.length,
      first: wal.pieces[0]?.name,
      last: wal.pieces.at(-1)?.name,
      storedBytes: wal.storedBytes,
      end: lsn(wal.end),
      lastTransaction: time(wal.lastTransaction),
      missing:
        wal.gap === undefined ? undefined : { names: wal.gap.names, count: wal.gap.count, behind: wal.gap.behind },
    },
    data: { bytes: backup.dataSize, files: backup.files },
    folders: plan.folders,
    tablespaces: plan.tablespaces,
    settings: Object.fromEntries(settings),
    problems: plan.problems,
    warnings: plan.warnings,
  };
}
