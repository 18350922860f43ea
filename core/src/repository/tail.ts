/** The slices of a segment that was still being written, put together. */
import type { TailKey } from './layout.ts';

/** A slice in a storage. */
export interface TailSlice extends TailKey {
  readonly key: string;
}

/**
 * What some slices hold from the first byte of the segment on, as far as they touch; undefined when none begins there. At each position
 * the slice that reaches furthest is read; where it cannot be, the next one, as long as the others reach as far in the end.
 *
 * Errors: that of the slice that reaches furthest, when without it the result would be shorter.
 */
export async function joinSlices<Slice extends TailKey>(
  slices: readonly Slice[],
  read: (slice: Slice) => Promise<Uint8Array>,
): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  const unread = new Map<Slice, unknown>();
  let position = 0;
  for (;;) {
    const touching = slices
      .filter((slice) => slice.from <= position && slice.to > position)
      .sort((one, other) => other.to - one.to);
    const [furthest] = touching;
    if (furthest === undefined) return position === 0 ? undefined : Buffer.concat(chunks);
    const next = touching.find((slice) => !unread.has(slice));
    if (next === undefined) throw unread.get(furthest);
    try {
      chunks.push((await read(next)).subarray(position - next.from));
      position = next.to;
    } catch (error) {
      unread.set(next, error);
    }
  }
}
