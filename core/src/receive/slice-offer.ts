import { MOST_OF_SLICE, type Slice } from './messages.ts';
import type { SegmentWriter } from './segment-writer.ts';

/** Hands out what is new and durable in the open segment, one slice for each time that one is wanted. */
export class SliceOffer {
  readonly #give: (slice: Slice) => void;
  #wanted = false;
  #name = '';
  #given = 0;

  constructor(give: (slice: Slice) => void) {
    this.#give = give;
  }

  /** A segment was opened: a new one begins at its first byte, one that was open before goes on. */
  opened(name: string): void {
    if (name !== this.#name) this.#given = 0;
    this.#name = name;
  }

  want(): void {
    this.#wanted = true;
  }

  /** Gives a slice if one is wanted and there is one. */
  offer(writer: SegmentWriter): void {
    if (!this.#wanted || writer.open !== this.#name) return;
    const to = Math.min(writer.durableOffset, this.#given + MOST_OF_SLICE);
    if (to <= this.#given) return;
    this.#wanted = false;
    this.#give({ name: this.#name, from: this.#given, to });
    this.#given = to;
  }
}
