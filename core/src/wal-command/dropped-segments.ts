/** Segments that `wal-push` let go, on record beside the spool until every repository that lacks them has the gap on record, too. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { PushConfig } from '../config/config.ts';
import { ArchiveError, errnoOf, isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { formatLsn } from '../postgres/lsn.ts';
import { parseWalFileName, segmentNumberOf } from '../postgres/wal-file.ts';
import { writeDurably } from '../receive/durable-file.ts';
import { guard, spoolError } from '../receive/spool-error.ts';
import { isSystemId } from '../repository/layout.ts';
import type { Repository } from '../repository/repository.ts';
import { covers, gapsAmong, joinGaps, type RecordedGap } from '../repository/wal-gaps.ts';

/** One segment that one repository lacks. */
export interface DroppedSegment {
  readonly repository: string;
  readonly systemId: string;
  readonly name: string;
  /** Bytes. */
  readonly segmentSize: number;
  /** When it was let go, epoch milliseconds. */
  readonly time: number;
  readonly reason: string;
  /** Whether the repository has the gap on record. The segment may still be in `pg_wal`, and is shipped then. */
  readonly recorded: boolean;
}

export interface DeliverOptions extends CallOptions {
  /** `pg_wal`. */
  readonly walFolder: string;
  /** A segment that is about to be archived. */
  readonly but?: string;
}

const NAME = /^\d{1,20}-[0-9A-F]{24}-.+\.json$/;

/** The gap that a segment leaves. */
export function gapOf({ name, segmentSize }: Pick<DroppedSegment, 'name' | 'segmentSize'>): RecordedGap {
  const file = parseWalFileName(name);
  if (file?.kind !== 'segment') throw new ArchiveError('INTERNAL', `not the name of a segment: ${name}`);
  const from = segmentNumberOf(file, segmentSize) * BigInt(segmentSize);
  return { timeline: file.timeline, toTimeline: file.timeline, from, to: from + BigInt(segmentSize) };
}

/** Files in one folder, one for each segment and repository: whoever writes them does so at once, and twice does no harm. */
export class DroppedSegments {
  /** The folder; made when it is needed. */
  readonly folder: string;

  readonly #keeps: boolean;

  /**
   * `spool` is `receive.spool`. Where nothing is ever let go a folder that this user may not look into is that of a receiver, and
   * holds nothing of his.
   */
  constructor(spool: string, cluster: string, { onFullDisk }: Pick<PushConfig, 'onFullDisk'>) {
    this.folder = join(spool, cluster, 'dropped');
    this.#keeps = onFullDisk === 'keep';
  }

  /** Puts a segment on record; durable when it returns. Errors: `SPOOL_FULL`, `SPOOL_UNAVAILABLE`. */
  put(segment: DroppedSegment): void {
    const path = this.#path(segment);
    guard(path, () => {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      writeDurably(path, Buffer.from(`${JSON.stringify(segment, undefined, 2)}\n`));
    });
  }

  /** Errors: `SPOOL_UNAVAILABLE`. */
  remove(segment: Pick<DroppedSegment, 'repository' | 'systemId' | 'name'>): void {
    const path = this.#path(segment);
    guard(path, () => {
      rmSync(path, { force: true });
    });
  }

  /**
   * All that is on record, by name of the segment. A folder that is not there holds nothing. Errors: `SPOOL_UNAVAILABLE`,
   * `SPOOL_INVALID`.
   */
  list(): readonly DroppedSegment[] {
    let names: readonly string[];
    try {
      names = readdirSync(this.folder);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT' || errno === 'ENOTDIR' || (errno === 'EACCES' && this.#keeps)) return [];
      throw spoolError(this.folder, error);
    }
    const found = names.filter((name) => NAME.test(name)).flatMap((name) => read(join(this.folder, name)) ?? []);
    return found.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  }

  #path({ systemId, name, repository }: Pick<DroppedSegment, 'repository' | 'systemId' | 'name'>): string {
    return join(this.folder, `${systemId}-${name}-${repository}.json`);
  }

  /** What one repository lacks of one cluster. Errors: as {@link list}. */
  of({ name }: Pick<Repository, 'name'>, systemId: string): readonly DroppedSegment[] {
    return this.list().filter((segment) => segment.repository === name && segment.systemId === systemId);
  }

  /** Puts the gaps that a repository does not know yet on record there. Errors: as {@link list}, those of the repository. */
  async deliver(repository: Repository, systemId: string, { walFolder, but, ...call }: DeliverOptions): Promise<void> {
    const owed = this.of(repository, systemId).filter(({ name, recorded }) => !recorded && name !== but);
    const [first] = owed;
    if (first === undefined) return;
    const facts = repository.facts(systemId);
    const known = gapsAmong(await facts.list('wal', call));
    let time = Date.now();
    // What is still there may yet be shipped, which closes its gap and no other.
    const there = (segment: DroppedSegment): boolean => existsSync(join(walFolder, segment.name));
    const gone = owed.filter((segment) => !there(segment));
    for (const gap of [...joinGaps(gone.map(gapOf)), ...owed.filter(there).map(gapOf)]) {
      if (known.some((one) => covers(one, gap))) continue; // the answer to an earlier attempt was lost
      const data = {
        timeline: gap.timeline,
        to_timeline: gap.toTimeline,
        from: formatLsn(gap.from),
        to: formatLsn(gap.to),
        reason: first.reason,
      };
      // Another one of this kind may have come in the same millisecond.
      for (let added = false; !added; time++) {
        try {
          await facts.add('wal', { kind: 'gap', time, data }, call);
          added = true;
        } catch (error) {
          if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
        }
      }
    }
    for (const segment of owed) this.put({ ...segment, recorded: true });
  }
}

/** Undefined when it is gone: another process has just shipped it. */
function read(path: string): DroppedSegment | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw spoolError(path, error);
  }
  const segment = parse(text);
  if (segment !== undefined) return segment;
  throw new ArchiveError('SPOOL_INVALID', `${path} is not the record of a segment that was let go`);
}

function parse(text: string): DroppedSegment | undefined {
  let value: Partial<DroppedSegment>;
  try {
    value = JSON.parse(text) as Partial<DroppedSegment>;
  } catch {
    return undefined; // the caller says which file it is
  }
  const { name, systemId, repository, segmentSize } = value;
  const valid =
    typeof name === 'string' &&
    parseWalFileName(name)?.kind === 'segment' &&
    typeof systemId === 'string' &&
    isSystemId(systemId) &&
    typeof repository === 'string' &&
    typeof segmentSize === 'number';
  return valid ? (value as DroppedSegment) : undefined;
}
