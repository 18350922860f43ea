import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { historyName, segmentName } from '../postgres/wal-file.ts';
import type { WalArchive } from '../repository/wal.ts';
import { countSegments, missingSegments, type RequiredWal, type SegmentRun } from './required-wal.ts';

/** Milliseconds between two looks: soon at first, as the segment is often under way already, then less often. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2000;

export interface WalWaitOptions extends CallOptions {
  readonly segmentSize: number;
  /** Milliseconds in which not one more of the files arrives, after which the wait is given up. */
  readonly timeout: number;
  /** Told after each look which file is awaited, if any, and how many are there. */
  readonly onProgress: (awaited: string | undefined, archived: number) => void;
  /** What to do when nothing comes, for the error. */
  readonly hint: string;
}

/** What a look found: the first file that is not there, and how many are. */
interface Look {
  readonly awaited: string | undefined;
  readonly archived: number;
}

/**
 * Waits until the archive holds all of this WAL. Errors: `BACKUP_WAL_TIMEOUT` names what is missing; `WAL_CONFLICT`; `ABORTED`; those of the
 * storage that waiting cannot heal.
 */
export async function waitForWal(archive: WalArchive, required: RequiredWal, options: WalWaitOptions): Promise<void> {
  const { signal, timeout, onProgress } = options;
  const needed = required.histories.length + countSegments(required.runs);
  const watch = new Watch(archive, required, options);
  let archived = 0;
  let since = performance.now();
  let pause = FIRST_PAUSE;
  for (;;) {
    let trouble: ArchiveError | undefined;
    try {
      const look = await watch.look();
      onProgress(look.awaited, look.archived);
      if (look.awaited === undefined) return;
      if (look.archived > archived) {
        archived = look.archived;
        since = performance.now();
        pause = FIRST_PAUSE;
      }
    } catch (error) {
      // The backup is all there but for this answer: worth as much patience as the WAL itself.
      if (!isArchiveError(error) || !error.retriable) throw error;
      trouble = error;
      onProgress(watch.awaited, archived);
    }
    if (performance.now() - since >= timeout) throw timeoutError(watch.awaited, needed - archived, trouble, options);
    await wait(Math.min(pause, timeout), signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

/** Looks again only for what was not there. */
class Watch {
  readonly #archive: WalArchive;
  readonly #options: WalWaitOptions;
  readonly #call: CallOptions;
  #histories: readonly number[];
  #runs: readonly SegmentRun[];
  #archived = 0;

  constructor(archive: WalArchive, required: RequiredWal, options: WalWaitOptions) {
    this.#archive = archive;
    this.#options = options;
    this.#call = options.signal === undefined ? {} : { signal: options.signal };
    this.#histories = required.histories;
    this.#runs = required.runs;
  }

  /** The first file that was not there at the last look. */
  get awaited(): string | undefined {
    const [history] = this.#histories;
    if (history !== undefined) return historyName(history);
    const [run] = this.#runs;
    return run === undefined ? undefined : segmentName(run.timeline, run.first, this.#options.segmentSize);
  }

  async look(): Promise<Look> {
    for (const history of this.#histories) {
      if ((await this.#archive.find(historyName(history), this.#call)) === undefined) break;
      this.#histories = this.#histories.slice(1);
      this.#archived++;
    }
    const missing: SegmentRun[] = [];
    for (const run of this.#runs)
      missing.push(...(await missingSegments(this.#archive, run, this.#options.segmentSize, this.#call)));
    this.#archived += countSegments(this.#runs) - countSegments(missing);
    this.#runs = missing;
    return { awaited: this.awaited, archived: this.#archived };
  }
}

const WAITING = 'waiting for the WAL of the backup';

async function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal, WAITING);
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throwIfAborted(signal, WAITING);
    throw error;
  }
}

function timeoutError(
  awaited: string | undefined,
  missing: number,
  trouble: ArchiveError | undefined,
  options: WalWaitOptions,
): ArchiveError {
  const more = missing > 1 ? ` and ${missing - 1} more WAL files` : '';
  const why = trouble === undefined ? '' : `: ${trouble.message}`;
  const seconds = Math.round(options.timeout / 1000);
  return new ArchiveError(
    'BACKUP_WAL_TIMEOUT',
    `${awaited ?? 'WAL'}${more} did not reach the archive within ${seconds} s${why}`,
    { hint: options.hint, details: { awaited, missing }, ...(trouble === undefined ? {} : { cause: trouble }) },
  );
}
