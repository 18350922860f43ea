/** What a verification gives. */
import type { VerifyLevel } from './finding.ts';
import type { Checked, Report } from './report.ts';

/** How far the archive went on a timeline, as the fact of a verification keeps it. */
export interface TimelineEnd {
  readonly timeline: number;
  /** Of whole segments. */
  readonly segments: number;
  /** The first of them. */
  readonly first?: string;
  /** Everything up to here is archived, or there is a hole before it. */
  readonly end?: string;
}

/** What was looked at, and what was found. */
export interface VerifiedSubject {
  /** Undefined for the repository as a whole. */
  readonly systemId: string | undefined;
  /** The id of a backup; `wal`; `repository`, for its marker. */
  readonly subject: string;
  readonly started: number;
  readonly finished: number;
  readonly report: Checked & Pick<Report, 'healed'>;
  /** Of the WAL. */
  readonly timelines?: readonly TimelineEnd[];
  /** A backup without a record, of which nothing is known. */
  readonly isIncomplete?: boolean;
}

export interface VerifyResult {
  readonly repository: string;
  readonly level: VerifyLevel;
  readonly seed: number;
  /** Epoch milliseconds. */
  readonly started: number;
  readonly finished: number;
  /** Those that were looked at to their end. */
  readonly subjects: readonly VerifiedSubject[];
  /** What ended it before its time, such as a storage that is away: what is not among the subjects is not known. */
  readonly stopped?: unknown;
}
