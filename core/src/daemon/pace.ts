import type { BackoffOptions } from '../receive/backoff.ts';

/** How long the daemon waits, in milliseconds. The values are not for users; tests have others. */
export interface Pace {
  /** Between two begins of a part that fails. */
  readonly restart: BackoffOptions;
  /** The same after an error that only somebody can mend. */
  readonly slowRestart: BackoffOptions;
  /** A part that ran for so long has recovered. */
  readonly steady: number;
  /** After which the same failure is said again as loudly. */
  readonly repeat: number;
  /** That a look may take. */
  readonly look: number;
  /** Between two looks, at least, when something has changed. */
  readonly soon: number;
  /** Between two questions to the receiver, at most. */
  readonly sample: number;
  /** That runs of jobs get to end by themselves, when the daemon is to stop. */
  readonly runs: number;
  /** That they get after it, cancelled by then, to end and to be put on record. */
  readonly cancelled: number;
  /** That a receiver gets to ship when it has failed: the next one goes on with it. */
  readonly failedShipping: number;
  /** That closing an archive or a server may take. */
  readonly closing: number;
  /** That a part gets beyond what it has to end in; then it is left behind. */
  readonly late: number;
}

export const PACE: Pace = {
  restart: { first: 1000, most: 60_000 },
  slowRestart: { first: 30_000, most: 300_000 },
  steady: 60_000,
  repeat: 3_600_000,
  look: 120_000,
  soon: 2000,
  sample: 15_000,
  runs: 10_000,
  cancelled: 25_000,
  failedShipping: 2000,
  closing: 10_000,
  late: 10_000,
};
