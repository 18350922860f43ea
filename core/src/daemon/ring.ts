/** The newest of something, so many at most. */
export class Ring<Item> {
  readonly #most: number;
  #items: readonly Item[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Oldest first. A list that was given does not change. */
  get items(): readonly Item[] {
    return this.#items;
  }

  add(item: Item): void {
    this.#items = [...this.#items.slice(-this.#most + 1), item];
  }
}
