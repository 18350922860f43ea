/** What a drill found out. */
import type { DrillCheckConfig } from '../config/config.ts';

/**
 * `proven`: a server started from the backup, reached the target and passed every check. `failed`: it did not, and the backup is at
 * fault. `inconclusive`: the host of the drill is at fault, so that nothing is known about the backup.
 */
export type DrillOutcome = 'proven' | 'failed' | 'inconclusive';

/** One question that was put to the restored cluster. */
export interface DrillCheck {
  readonly name: string;
  /** `skipped`: it could not be asked here, and why stands in `detail`. */
  readonly outcome: 'passed' | 'failed' | 'inconclusive' | 'skipped';
  /** Holds nothing out of the database: it is stored, and facts are not encrypted. */
  readonly detail: string;
  /** What the server said; shown where the drill runs, and never stored. */
  readonly said?: string;
}

/** Where the recovery ended. */
export interface DrillReached {
  /** End of the last record that was replayed. */
  readonly lsn: string;
  /** The timeline that was followed; the server of the drill began one of its own there. */
  readonly timeline: number;
  /** Of the last transaction that was replayed; absent when there was none after the backup began. */
  readonly time?: string;
}

/** Seconds. `restore` and `recovery` together are what getting the database back takes on this host. */
export interface DrillPhases {
  readonly plan?: number;
  /** Reading all WAL up to the target, for records that must not be replayed here. */
  readonly wal?: number;
  readonly restore?: number;
  readonly recovery?: number;
  readonly checks?: number;
}

/** A drill as it is recorded, in a fact of the kind `drill` of the backup (`docs/reference/format.md`). Times are ISO 8601 in UTC. */
export interface DrillRecord {
  readonly started: string;
  readonly finished: string;
  readonly outcome: DrillOutcome;
  /** The one that everything was read from. */
  readonly repository: string;
  readonly target: {
    readonly kind: string;
    readonly text: string;
    /** That was to be followed; absent when not even that could be found out. */
    readonly timeline?: number;
    /** With which a random moment was drawn. */
    readonly seed?: number;
  };
  readonly reached?: DrillReached;
  /** As `server_version_num`, of the server that was started; absent when none was. */
  readonly serverVersion?: number;
  /** That the drill ran on. */
  readonly host: string;
  /** The version of pgark. */
  readonly tool: string;
  readonly phases: DrillPhases;
  /** Bytes of the restored files. */
  readonly bytes: number;
  readonly checks: readonly Omit<DrillCheck, 'said'>[];
  /** Why it is not proven. */
  readonly problem?: { readonly code: string; readonly message: string };
}

/** The kind of the facts that drills leave. */
export const DRILL_FACT = 'drill';

/** Characters of a text in a fact. */
const LONGEST = 500;

/** A text that is short enough for a fact, on one line. */
export function bounded(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST - 3)}...`;
}

/** What a check of the config is called in results. */
export function checkName(check: DrillCheckConfig, at: number): string {
  return check.name ?? `checks[${at}]`;
}
