import { open } from 'node:fs/promises';
import type { Logger } from '../contracts/plugin.ts';
import { errnoOf } from '../contracts/errors.ts';
import { parseWalFileName } from '../postgres/wal-file.ts';
import { asArchiveError, MOST_OF_SLICE, type SystemInfo } from './messages.ts';
import type { Outlet } from './outlet.ts';
import { readBytes } from './partial-segment.ts';
import type { Spool, WalPosition } from './spool.ts';
import { spoolError } from './spool-error.ts';

export interface TailLaneOptions {
  readonly spool: Spool;
  readonly system: SystemInfo;
  readonly outlet: Outlet;
  /** The lowest number of a whole segment in the spool that the repository does not have. */
  readonly firstMissing: () => bigint | undefined;
  /** Whether WAL of a timeline waits for its history. */
  readonly isHeld: (timeline: number) => boolean;
  /** With several repositories: whether this one lacks nothing before a position. Tries until that is known. */
  readonly isWhole?: (to: WalPosition, signal: AbortSignal) => Promise<boolean>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** The repository has more of the open segment, or nothing is left to archive. */
  readonly onProgress: () => void;
}

interface OpenSegment {
  readonly name: string;
  readonly start: bigint;
  /** Bytes that are durable in the spool, as far as they were told. */
  durable: number;
  /** Bytes that the repository has. */
  archived: number;
  /** Tries for which its file was not in the spool. */
  absent: number;
  /** Fires when another segment is open: then nothing waits to archive slices of this one. */
  readonly left: AbortController;
}

/**
 * The open segment in one repository: one slice is under way at a time, what comes meanwhile goes into the next. A repository
 * that is down holds no bytes in memory, and is given the slices of the segment that is open when it is back.
 */
export class TailLane {
  readonly #options: TailLaneOptions;
  #open: OpenSegment | undefined;
  #work: Promise<void> | undefined;
  /** Whether it lacks nothing before the open segment but what it gets from the spool; undefined while that is not known. */
  #whole: boolean | undefined;
  #looks = 0;

  constructor(options: TailLaneOptions) {
    this.#options = options;
    if (options.isWhole === undefined) this.#whole = true;
  }

  get outlet(): Outlet {
    return this.#options.outlet;
  }

  /** The end of what the repository has without a hole; undefined before a segment is open, and while it is not known to have none. */
  get reached(): bigint | undefined {
    const open = this.#open;
    if (open === undefined || this.#whole !== true) return undefined;
    const reached = open.start + BigInt(open.archived);
    const missing = this.#options.firstMissing();
    const start = missing === undefined ? reached : missing * BigInt(this.#options.system.segmentSize);
    return start < reached ? start : reached;
  }

  /** A segment is open, anew or again. */
  opened(name: string, start: bigint): void {
    if (name === this.#open?.name) return;
    this.#look(name, start);
    this.#open?.left.abort();
    this.#open = { name, start, durable: 0, archived: 0, absent: 0, left: new AbortController() };
  }

  /**
   * Asks whether the repository lacks WAL: when the first segment is open, and when one does not follow on the last. A hole that is found
   * keeps it out for the whole run: later it may lie too far back to be seen.
   */
  #look(name: string, start: bigint): void {
    const { isWhole, system, outlet, logger, signal, onProgress } = this.#options;
    const follows = this.#open !== undefined && start <= this.#open.start + BigInt(system.segmentSize);
    const timeline = parseWalFileName(name)?.timeline;
    if (isWhole === undefined || timeline === undefined || follows || this.#whole === false) return;
    this.#whole = undefined;
    this.#looks += 1;
    const look = this.#looks;
    const looking = async (): Promise<void> => {
      try {
        const whole = await isWhole({ timeline, lsn: start }, signal);
        if (whole && look !== this.#looks) return;
        this.#whole = whole;
        onProgress();
      } catch (error) {
        const message = `whether it has all WAL was not found out: ${asArchiveError(error).message}`;
        logger.debug({ repository: outlet.name }, message);
      }
    };
    void looking();
  }

  /** The repository has the whole segment. */
  hasWhole(name: string): void {
    if (this.#open?.name === name) this.#open.archived = this.#options.system.segmentSize;
  }

  /** Archives the open segment up to a byte that is durable in the spool. Nobody waits for it: {@link isDone} tells. */
  archive(name: string, to: number): void {
    const open = this.#open;
    if (open?.name !== name) return;
    open.durable = Math.max(open.durable, to);
    const timeline = parseWalFileName(name)?.timeline;
    // The next slice takes along what waits now.
    if (timeline !== undefined && this.#options.isHeld(timeline)) return;
    this.#work ??= this.#archive().finally(() => {
      this.#work = undefined;
      this.#options.onProgress();
    });
  }

  /** Whether the repository has the open segment up to a byte, or is not going to be given it as slices. */
  isDone(name: string, to: number): boolean {
    return this.#open?.name !== name || this.#open.archived >= to || this.#work === undefined;
  }

  /** Archives the rest of the open segment, which is durable up to an LSN. */
  async finish(durable: bigint): Promise<void> {
    await this.#work;
    if (this.#open === undefined) return;
    this.archive(this.#open.name, Number(durable - this.#open.start));
    await this.#work;
  }

  async #archive(): Promise<void> {
    for (let open = this.#open; open !== undefined && open.archived < open.durable; open = this.#open) {
      if (!(await this.#ship(open)) && open === this.#open) return;
      this.#options.onProgress();
    }
  }

  /** Archives a slice; gives whether the repository has it now. */
  async #ship(open: OpenSegment): Promise<boolean> {
    const { spool, system, outlet, logger, signal } = this.#options;
    const { name, archived: from } = open;
    const path = spool.path(system.systemId, name);
    let to = from;
    let present = false;
    try {
      await outlet.run(
        async (repository) => {
          present = false;
          if (open.left.signal.aborted) return;
          // Read at each try: what waits for a repository would fill the memory, and there is more by now.
          to = Math.min(open.durable, from + MOST_OF_SLICE);
          const bytes = await readSlice(path, from, to);
          if (bytes === undefined) return;
          present = true;
          await repository.wal(system.systemId).pushTail(name, from, to, bytes, { signal });
        },
        { subject: `${name}.tail`, signal, last: open.left.signal },
      );
    } catch (error) {
      // The slice is missing now, but its bytes are in the spool, and in the archive with the whole segment.
      const message = `a slice was not archived: ${asArchiveError(error).message}`;
      logger.debug({ repository: outlet.name, file: name, from, to }, message);
      return false;
    }
    // A segment that the repository has leaves the spool, which hasWhole tells in a moment. Whatever else took it has archived nothing.
    if (!present) {
      if (!open.left.signal.aborted) this.#isAbsent(open, path);
      return false;
    }
    open.archived = Math.max(open.archived, to);
    return to > from;
  }

  #isAbsent(open: OpenSegment, path: string): void {
    open.absent += 1;
    // Once it may be on its way out, for the repository has it.
    if (open.absent !== 2) return;
    const { logger, outlet } = this.#options;
    const hint = 'Start the receiver again: it receives the segment anew, as long as the server has it.';
    logger.error({ repository: outlet.name, file: open.name, hint }, `${path}.partial was removed from the spool`);
  }
}

/** Reads bytes of a segment that may be finished, and renamed, at any time; undefined when it has left the spool. */
async function readSlice(path: string, from: number, to: number): Promise<Uint8Array | undefined> {
  try {
    const handle = (await openIfPresent(`${path}.partial`)) ?? (await openIfPresent(path));
    if (handle === undefined) return undefined;
    try {
      return await readBytes(handle, from, to);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw spoolError(path, error);
  }
}

async function openIfPresent(path: string): Promise<Awaited<ReturnType<typeof open>> | undefined> {
  try {
    return await open(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
