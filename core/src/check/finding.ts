/** One line of `pgark check`. */
export interface Finding {
  /** `repository primary` or `server`. */
  readonly subject: string;
  /** What was tried, one word or two. */
  readonly check: string;
  /** `warning`: it works, but not as safely as it could; `skipped`: could not be tried here. */
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped';
  /** What was seen. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}
