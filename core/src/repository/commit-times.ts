import { createHash } from 'node:crypto';
import * as z from 'zod';
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { parseWalFileName, segmentName } from '../postgres/wal-file.ts';
import { DIGEST_LENGTH, FORMAT, parseTimesKey, timesFrom, timesKey, timesPrefix } from './layout.ts';
import { putBytes, readSmall, signalOf } from './objects.ts';
import type { RepositoryContext } from './repository.ts';

/**
 * When transactions ended in one segment, as its records say: commits and rollbacks, for a recovery to a time stops at either. Of a segment that
 * was still being written it is what was known then: another object says more.
 */
export interface SegmentTimes {
  /** Its name. */
  readonly segment: string;
  /** How many ended. */
  readonly transactions: number;
  /** Microseconds since 1970; absent without any. */
  readonly first?: number | undefined;
  readonly last?: number | undefined;
}

/** The most segments that one object speaks of. */
export const MOST_SEGMENTS = 64;

/** Segments by their numbers; without `last` to the end of the timeline. */
export interface TimesRange {
  readonly first: bigint;
  readonly last?: bigint;
  /** Bytes. */
  readonly segmentSize: number;
}

const micros = z.int().positive();
const schema = z.object({
  format: z.literal(FORMAT),
  segments: z.array(
    z.object({
      segment: z.string().regex(/^[0-9A-F]{24}$/),
      transactions: z.int().nonnegative(),
      first: micros.optional(),
      last: micros.optional(),
    }),
  ),
});

/**
 * The commit times of one system identifier: small objects beside the WAL, which the WAL can be read without. Nothing is decided by them; they
 * say what reading the WAL would say, for those who have no keys, or no time.
 */
export class CommitTimes {
  readonly #context: RepositoryContext;
  readonly #prefix: string;

  constructor(context: RepositoryContext, systemId: string) {
    this.#context = context;
    this.#prefix = timesPrefix(context.cluster, systemId);
  }

  /** Adds the times of segments of one timeline, in their order. What is there already is a success. Errors: those of the storage. */
  async add(segments: readonly SegmentTimes[], options: CallOptions = {}): Promise<void> {
    const [first, last] = [segments[0]?.segment, segments.at(-1)?.segment];
    const timeline = first === undefined ? undefined : parseWalFileName(first)?.timeline;
    if (first === undefined || last === undefined || timeline === undefined) return;
    const bytes = Buffer.from(`${JSON.stringify({ format: FORMAT, segments }, undefined, 1)}\n`);
    const digest = createHash('sha256').update(bytes).digest('hex').slice(0, DIGEST_LENGTH);
    try {
      await putBytes(this.#context.storage, this.#prefix + timesKey({ timeline, first, last, digest }), bytes, options);
    } catch (error) {
      if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
    }
  }

  /**
   * What is known of the segments from one number up to another of a timeline, by name. An object that cannot be read, or is none, is passed over:
   * what it says is unknown. Errors: those of the storage as a whole.
   */
  async between(
    timeline: number,
    range: Required<TimesRange>,
    options: CallOptions = {},
  ): Promise<ReadonlyMap<string, SegmentTimes>> {
    const name = (number: bigint): string => segmentName(timeline, number, range.segmentSize);
    const [wanted, end] = [name(range.first), name(range.last)];
    const found = new Map<string, SegmentTimes>();
    for await (const { key, digest } of this.#objects(timeline, range, options)) {
      const bytes = await this.#read(key, digest, options);
      for (const one of bytes === undefined ? [] : segmentsIn(bytes)) {
        if (one.segment >= wanted && one.segment <= end)
          found.set(one.segment, mergeTimes(found.get(one.segment), one));
      }
    }
    return found;
  }

  /**
   * Adds to another repository what it lacks of the objects that speak of these segments, as they are; without a last one of all from the first on.
   * One that cannot be read is passed over. Gives how many. Errors: those of the storages.
   */
  async copyTo(target: CommitTimes, timeline: number, range: TimesRange, options: CallOptions = {}): Promise<number> {
    const there = new Set<string>();
    for await (const { name } of target.#objects(timeline, range, options)) there.add(name);
    let added = 0;
    for await (const { key, name, digest } of this.#objects(timeline, range, options)) {
      const bytes = there.has(name) ? undefined : await this.#read(key, digest, options);
      if (bytes === undefined) continue;
      try {
        await putBytes(target.#context.storage, target.#prefix + name, bytes, options);
        added++;
      } catch (error) {
        if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error; // another copy was faster
      }
    }
    return added;
  }

  /** The objects that speak of segments of a range, by their keys below the prefix. */
  async *#objects(
    timeline: number,
    { first, last, segmentSize }: TimesRange,
    options: CallOptions,
  ): AsyncGenerator<{ readonly key: string; readonly name: string; readonly digest: string }> {
    const nameOf = (number: bigint): string => segmentName(timeline, number, segmentSize);
    const wanted = nameOf(first);
    const end = last === undefined ? undefined : nameOf(last);
    const begin = first > BigInt(MOST_SEGMENTS) ? first - BigInt(MOST_SEGMENTS) : 0n;
    const { folder, startAfter } = timesFrom(timeline, nameOf(begin));
    const call = { ...signalOf(options), startAfter: this.#prefix + startAfter };
    for await (const { key } of this.#context.storage.list(this.#prefix + folder, call)) {
      const name = key.slice(this.#prefix.length);
      const times = parseTimesKey(name);
      if (times === undefined || times.last < wanted) continue;
      if (end !== undefined && times.first > end) return;
      yield { key, name, digest: times.digest };
    }
  }

  /** The bytes of an object, if they are those of its name. */
  async #read(key: string, digest: string, options: CallOptions): Promise<Uint8Array | undefined> {
    try {
      const bytes = await readSmall(this.#context.storage, key, options);
      const own = createHash('sha256').update(bytes).digest('hex').slice(0, DIGEST_LENGTH);
      return own === digest ? bytes : undefined;
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND') || isArchiveError(error, 'STORAGE_CORRUPT')) return undefined;
      throw error;
    }
  }
}

/** What an object says; nothing for one that is none. */
function segmentsIn(bytes: Uint8Array): readonly SegmentTimes[] {
  try {
    const parsed = schema.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')));
    return parsed.success ? parsed.data.segments : [];
  } catch {
    return []; // what it says is unknown
  }
}

/** Of two statements about one segment: the one that was made later knows more, and says all that the other one did. */
export function mergeTimes(one: SegmentTimes | undefined, other: SegmentTimes): SegmentTimes {
  if (one === undefined) return other;
  const first = least(one.first, other.first);
  const last = most(one.last, other.last);
  return {
    segment: other.segment,
    transactions: Math.max(one.transactions, other.transactions),
    ...(first !== undefined && { first }),
    ...(last !== undefined && { last }),
  };
}

function least(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}

function most(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.max(one, other);
}
