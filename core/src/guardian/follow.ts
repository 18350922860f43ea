/** Whether the receiver that has the slot ships into the archive of the one that stands by: another program could have taken it. */
import { formatLsn } from '../postgres/lsn.ts';
import type { SlotReport } from '../postgres/slot-report.ts';
import { segmentNumberOf } from '../postgres/wal-file.ts';
import { asArchiveError } from '../receive/messages.ts';
import type { WalObject } from '../repository/wal.ts';
import type { GuardedRepository } from './archive-guard.ts';
import { formatSize } from './format-size.ts';
import type { Judgement } from './judge.ts';

export interface FollowOptions {
  readonly repositories: readonly GuardedRepository[];
  readonly systemId: string;
  readonly segmentSize: number;
  /** Bytes that the archive may be behind the slot. */
  readonly maxLag: number;
  readonly signal: AbortSignal;
}

/** Compares the slot with the end of the archive on the server's timeline, or on the one before; undefined while the slot is not in use. */
export async function follow(report: SlotReport, options: FollowOptions): Promise<Judgement | undefined> {
  const { repositories, systemId, segmentSize, maxLag, signal } = options;
  const { slot, timeline, host } = report;
  if (slot?.restartLsn === undefined || !slot.active) return undefined;
  let end = 0n;
  const problems: string[] = [];
  for (const { repository, check } of repositories) {
    try {
      await check(signal);
      const wal = repository.wal(systemId);
      // A timeline that has just begun has no whole segment yet: then the archive ends with the one before.
      let last: WalObject | undefined;
      for (const held of (await wal.timelines({ signal })).toReversed())
        if (held <= timeline) last ??= await wal.last(held, { signal });
      if (last?.file.kind !== 'segment') continue;
      const behind = (segmentNumberOf(last.file, segmentSize) + 1n) * BigInt(segmentSize);
      if (behind > end) end = behind;
    } catch (error) {
      if (signal.aborted) throw error;
      problems.push(`repository ${repository.name}: ${asArchiveError(error).message}`);
    }
  }
  return judgeFollowing({ host, slot: slot.restartLsn, end, maxLag, problems });
}

interface Following {
  readonly host: string;
  readonly slot: bigint;
  /** Of the archive; 0 when it holds nothing of the timeline. */
  readonly end: bigint;
  readonly maxLag: number;
  readonly problems: readonly string[];
}

/** Pure. */
export function judgeFollowing({ host, slot, end, maxLag, problems }: Following): Judgement {
  const subject = 'archive';
  const isNear = end + BigInt(maxLag) >= slot;
  if (isNear && end === 0n) {
    return {
      subject,
      state: 'unknown',
      message: 'whether the other receiver ships is not known: nothing is archived yet',
    };
  }
  if (isNear) {
    return {
      subject,
      state: 'followed',
      message: `the archive ends at ${formatLsn(end)}, the slot of the other receiver at ${formatLsn(slot)}`,
    };
  }
  if (problems.length > 0) {
    return {
      subject,
      state: 'unknown',
      message: `whether the other receiver ships is not known: ${problems.join('; ')}`,
    };
  }
  return {
    subject,
    state: 'ARCHIVE_BEHIND',
    message: `another receiver uses the slot on ${host}, but the archive is ${formatSize(slot - end)} behind it`,
    hint: 'See whether it ships into the same repositories, and whether its storage works.',
  };
}
