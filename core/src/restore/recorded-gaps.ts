/** Gaps on record that end a recovery, whether or not there is WAL behind them. */
import { segmentNumber } from '../postgres/wal-file.ts';
import { answersOf } from '../repository/all-answers.ts';
import { failureText } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { describeGap, gapsAmong, joinGaps, type RecordedGap } from '../repository/wal-gaps.ts';
import type { Goal } from './goal.ts';
import type { PlanContext } from './plan-context.ts';
import type { WalRun } from './wal-pieces.ts';

export interface RecordedGapsInput {
  readonly repositories: readonly Repository[];
  /** From the backup on. */
  readonly run: WalRun;
  readonly goal: Goal | undefined;
  /** Where the backup begins. */
  readonly start: bigint;
  /** Bytes. */
  readonly segmentSize: number;
}

/** A warning for each: those behind the goal do not matter, nor those that the WAL of any repository has closed. */
export async function recordedGaps(input: RecordedGapsInput, context: PlanContext): Promise<readonly string[]> {
  const { repositories, run, goal, start, segmentSize } = input;
  const { answers, failures } = await answersOf(
    repositories,
    async (repository) => gapsAmong(await repository.facts(context.systemId).list('wal', context)),
    context,
  );
  const next = (run.pieces.at(-1)?.number ?? segmentNumber(start, segmentSize) - 1n) + 1n;
  const isInTheWay = ({ timeline, from, to }: RecordedGap): boolean => {
    const range = context.lineage.ranges.find((candidate) => candidate.timeline === timeline);
    if (range === undefined || (range.end !== undefined && from >= range.end)) return false;
    return to > start && to > next * BigInt(segmentSize) && (goal === undefined || goal.lsn > from);
  };
  return [
    ...joinGaps(answers.flatMap(({ value }) => value))
      .filter(isInTheWay)
      .map((gap) => `WAL is lost from ${describeGap(gap)}, as is on record: no restore of this backup leads past it`),
    ...failures.map((failure) => `which gaps are on record is not known: ${failureText(failure)}`),
  ];
}
