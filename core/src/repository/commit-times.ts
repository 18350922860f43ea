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
    range: { readonly first: bigint; readonly last: bigint; readonly segmentSize: number },
    options: CallOptions = {},
  ): Promise<ReadonlyMap<string, SegmentTimes>> {
    const name = (number: bigint): string => segmentName(timeline, number, range.segmentSize);
    const [wanted, end] = [name(range.first), name(range.last)];
    const begin = range.first > BigInt(MOST_SEGMENTS) ? range.first - BigInt(MOST_SEGMENTS) : 0n;
    const { folder, startAfter } = timesFrom(timeline, name(begin));
    const call = { ...signalOf(options), startAfter: this.#prefix + startAfter };
    const found = new Map<string, SegmentTimes>();
    for await (const { key } of this.#context.storage.list(this.#prefix + folder, call)) {
      const times = parseTimesKey(key.slice(this.#prefix.length));
      if (times === undefined || times.last < wanted) continue;
      if (times.first > end) break;
      for (const one of await this.#read(key, times.digest, options)) {
        if (one.segment >= wanted && one.segment <= end)
          found.set(one.segment, mergeTimes(found.get(one.segment), one));
      }
    }
    return found;
  }

  async #read(key: string, digest: string, options: CallOptions): Promise<readonly SegmentTimes[]> {
    let bytes: Uint8Array;
    try {
      bytes = await readSmall(this.#context.storage, key, options);
    } catch (error) {
      if (isArchiveError(error, 'STORAGE_NOT_FOUND') || isArchiveError(error, 'STORAGE_CORRUPT')) return [];
      throw error;
    }
    if (createHash('sha256').update(bytes).digest('hex').slice(0, DIGEST_LENGTH) !== digest) return [];
    const parsed = schema.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')));
    return parsed.success ? parsed.data.segments : [];
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
