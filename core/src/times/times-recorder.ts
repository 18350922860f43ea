/** Keeps beside the WAL when its transactions ended, while it is shipped: small objects, gathered, at nobody's expense. */
import type { FileHandle } from 'node:fs/promises';
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import type { Logger } from '../contracts/plugin.ts';
import { MOST_SEGMENTS, type SegmentTimes } from '../repository/commit-times.ts';
import { openForScan, SegmentScan, type ScanPart } from './segment-scan.ts';

/** A repository that gets the objects. */
export interface TimesOutlet {
  readonly name: string;
  /** One try. */
  readonly add: (segments: readonly SegmentTimes[], options: CallOptions) => Promise<void>;
}

export interface TimesRecorderOptions {
  readonly systemId: string;
  readonly outlets: readonly TimesOutlet[];
  readonly logger: Logger;
  /** Milliseconds after the first segment that is not written yet; default 30 s. */
  readonly delay?: number;
}

const DELAY = 30_000;
/** Milliseconds that a repository has to take an object. */
const PATIENCE = 30_000;
/** Files that wait to be scanned: each is held open. Scanning is much faster than shipping, so that more mean that something is wrong. */
const MOST_OPEN = 32;
/** Segments that are remembered for a repository that takes nothing. */
const MOST_KEPT = 4096;

/**
 * Scans what is shipped, one file after the other, and writes what it finds when a log file ends, after 64 segments, or half a minute
 * after the first. Never fails: what is not scanned or not written is not known, and nothing else depends on it.
 */
export class TimesRecorder {
  readonly #options: TimesRecorderOptions;
  readonly #scan: SegmentScan;
  /** By outlet, in the order in which they were found. */
  readonly #kept: ReadonlyMap<TimesOutlet, Map<string, SegmentTimes>>;
  readonly #cancel = new AbortController();
  #work: Promise<void> = Promise.resolve();
  #writing: Promise<void> = Promise.resolve();
  #open = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #taken = new Set<string>();
  readonly #dropped = new Set<string>();

  constructor(options: TimesRecorderOptions) {
    this.#options = options;
    this.#scan = new SegmentScan(options.systemId);
    this.#kept = new Map(options.outlets.map((outlet) => [outlet, new Map<string, SegmentTimes>()]));
  }

  /** Takes a segment, or what there is of it, while its file is still there. Returns at once. */
  take(part: ScanPart, paths: readonly string[]): void {
    const whole = part.to === part.segmentSize;
    // Each repository ships it.
    if (this.#open >= MOST_OPEN || this.#cancel.signal.aborted || (whole && this.#taken.has(part.name))) return;
    if (whole) this.#remember(part.name);
    this.#open += 1;
    this.#work = this.#read(part, openFirst(paths), this.#work);
  }

  /** Scans one file after the one `before`. Never rejects. */
  async #read(part: ScanPart, opening: Promise<FileHandle | undefined>, before: Promise<void>): Promise<void> {
    await before;
    try {
      const file = await opening;
      if (file !== undefined) await this.#scan.read(file, part);
    } catch (error) {
      this.#tell(`the times in ${part.name} were not read`, error);
    } finally {
      this.#open -= 1;
    }
    const isLast = part.to === part.segmentSize && endsLog(part);
    if (isLast || this.#scan.size >= MOST_SEGMENTS) this.#flush();
    else this.#flushLater();
  }

  /** The archive holds other WAL under this name: what was read here says nothing about it. */
  drop(name: string): void {
    this.#dropped.add(name);
    for (const kept of this.#kept.values()) kept.delete(name);
  }

  /** Writes what there is, within a time in milliseconds. */
  async finish(milliseconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)));
    const all = this.#work.then(() => {
      this.#flush();
      return this.#writing;
    });
    await Promise.race([all, late]);
    clearTimeout(timer);
    clearTimeout(this.#timer);
    this.#cancel.abort();
  }

  #remember(name: string): void {
    this.#taken.add(name);
    const [oldest] = this.#taken;
    if (this.#taken.size > MOST_KEPT && oldest !== undefined) this.#taken.delete(oldest);
  }

  #flushLater(): void {
    if (this.#scan.size === 0 || this.#cancel.signal.aborted) return;
    this.#timer ??= setTimeout(() => this.#flush(), this.#options.delay ?? DELAY);
    this.#timer.unref();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const found = this.#scan.take().filter(({ segment }) => !this.#dropped.has(segment));
    for (const kept of this.#kept.values()) {
      for (const one of found) kept.set(one.segment, one);
      for (const name of [...kept.keys()].slice(0, Math.max(0, kept.size - MOST_KEPT))) kept.delete(name);
    }
    this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    await Promise.all([...this.#kept].map(([outlet, kept]) => this.#writeTo(outlet, kept)));
  }

  async #writeTo(outlet: TimesOutlet, kept: Map<string, SegmentTimes>): Promise<void> {
    for (const group of groupsOf([...kept.values()])) {
      try {
        const signal = AbortSignal.any([this.#cancel.signal, AbortSignal.timeout(PATIENCE)]);
        await outlet.add(group, { signal });
      } catch (error) {
        // It is tried with the next ones.
        this.#tell(`repository ${outlet.name} did not take times of commits`, error);
        return;
      }
      for (const one of group) if (kept.get(one.segment) === one) kept.delete(one.segment);
    }
  }

  #tell(what: string, error: unknown): void {
    const text = isArchiveError(error) || error instanceof Error ? error.message : String(error);
    this.#options.logger.debug({}, `${what}: ${text}`);
  }
}

/** Of a segment that may be in one of several places, being renamed. */
async function openFirst(paths: readonly string[]): Promise<FileHandle | undefined> {
  for (const path of paths) {
    const file = await openForScan(path);
    if (file !== undefined) return file;
  }
  return undefined;
}

/** Whether a segment is the last one of its log file. */
function endsLog({ name, segmentSize }: ScanPart): boolean {
  return Number.parseInt(name.slice(16), 16) === 0x100000000 / segmentSize - 1;
}

/** Segments of one timeline each, as many as an object may hold. */
function groupsOf(all: readonly SegmentTimes[]): readonly (readonly SegmentTimes[])[] {
  const groups: SegmentTimes[][] = [];
  for (const one of all.toSorted((left, right) => (left.segment < right.segment ? -1 : 1))) {
    const group = groups.at(-1);
    const fits =
      group !== undefined && group.length < MOST_SEGMENTS && group[0]?.segment.slice(0, 8) === one.segment.slice(0, 8);
    if (fits) group.push(one);
    else groups.push([one]);
  }
  return groups;
}
