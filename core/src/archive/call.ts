/** What the calls of an archive have in common. */
import type { ArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { CallOptions } from '../contracts/storage.ts';

/** Options of a call that takes its time. */
export interface LongCall<Progress> extends CallOptions {
  /** Told how far the work is, several times a second; it must not throw. */
  readonly onProgress?: (progress: Progress) => void;
  /** Told of each event beside the hooks of the config. It must not throw; what it does holds up nobody. */
  readonly onEvent?: EventSink;
}

/** Which repositories a call is about. */
export interface ChosenRepositories {
  /** Names of repositories of the config. Default, or empty: all. */
  readonly repositories?: readonly string[];
}

/** What a call gives that came to a result. */
export interface Outcome {
  /**
   * What the result falls short of, such as a repository that does not have the backup: what the command line ends with. Undefined when
   * all is well. Who wants all or nothing throws it.
   */
  readonly failure: ArchiveError | undefined;
}
