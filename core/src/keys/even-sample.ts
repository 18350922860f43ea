/** Some of many: spread evenly over a stream of unknown length, in bounded memory. */

/** Items that are kept. */
const KEPT = 1024;

/** Keeps the first and the last of the items that are added, and others at even distances between them. */
export class EvenSample<Item> {
  readonly #most: number;
  #kept: Item[] = [];
  #stride = 1;
  #count = 0;
  #last: Item | undefined;

  /** `most`: items that are kept, beside the last; `Infinity` keeps them all. */
  constructor(most: number = KEPT) {
    this.#most = most;
  }

  add(item: Item): void {
    if (this.#count % this.#stride === 0) {
      this.#kept.push(item);
      if (this.#kept.length > this.#most) {
        this.#kept = this.#kept.filter((_, at) => at % 2 === 0);
        this.#stride *= 2;
      }
    }
    this.#count++;
    this.#last = item;
  }

  /** In the order in which they were added. */
  items(): readonly Item[] {
    const last = this.#last;
    return last === undefined || this.#kept.at(-1) === last ? this.#kept : [...this.#kept, last];
  }
}

/** How many are looked at at first, the first and the last among them, and at most in all. */
const FIRST_LOOKS = 8;
const MOST_LOOKS = 64;

/**
 * Looks at some of the items: the first, the last, some at even distances; then, where two that were looked at differ, at those between
 * them, halving the way until the border is found. Gives what was seen by the place of the item.
 */
export async function lookBetween<Item, Seen>(
  items: readonly Item[],
  look: (item: Item) => Promise<Seen>,
  same: (one: Seen, other: Seen) => boolean,
): Promise<ReadonlyMap<number, Seen>> {
  const seen = new Map<number, Seen>();
  const most = items.length - 1;
  const first = Array.from({ length: FIRST_LOOKS }, (_, step) => Math.round((most * step) / (FIRST_LOOKS - 1)));
  let wanted: readonly number[] = items.length === 0 ? [] : [...new Set(first)];
  while (wanted.length > 0 && seen.size < MOST_LOOKS) {
    const now = wanted.slice(0, MOST_LOOKS - seen.size);
    const found = await Promise.all(now.map(async (at) => [at, await look(items[at] as Item)] as const));
    for (const [at, value] of found) seen.set(at, value);
    const places = [...seen.keys()].sort((one, other) => one - other);
    wanted = places.flatMap((place, index) => {
      const next = places[index + 1];
      if (next === undefined || next - place < 2) return [];
      return same(seen.get(place) as Seen, seen.get(next) as Seen) ? [] : [Math.floor((place + next) / 2)];
    });
  }
  return seen;
}
