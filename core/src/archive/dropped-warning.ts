/** What `wal-push` let go on this host, as long as no repository can tell of it. */
import type { Config } from '../config/config.ts';
import type { Logger } from '../contracts/plugin.ts';
import { describeGap, joinGaps } from '../repository/wal-gaps.ts';
import { DroppedSegments, gapOf } from '../wal-command/dropped-segments.ts';

/** Warns of gaps that a repository does not have on record yet. Errors: `SPOOL_UNAVAILABLE`, `SPOOL_INVALID`. */
export function warnOfDropped({ receive, cluster, push }: Config, logger: Logger): void {
  const owed = new DroppedSegments(receive.spool, cluster, push).list().filter(({ recorded }) => !recorded);
  for (const repository of new Set(owed.map((segment) => segment.repository))) {
    const own = owed.filter((segment) => segment.repository === repository);
    for (const systemId of new Set(own.map((segment) => segment.systemId))) {
      const gaps = joinGaps(own.filter((segment) => segment.systemId === systemId).map(gapOf));
      for (const gap of gaps)
        logger.warn(
          { repository, systemId },
          `WAL was let go from ${describeGap(gap)}, as the disk was about to fill; repository ${repository} has that on record when it is back`,
        );
    }
  }
}
