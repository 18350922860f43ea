/** So many requests are worked on at once. Reading a body and taking an answer need no place: a slow client has none to hold. */
export class Slots {
  readonly #most: number;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Does the work if there is a place; undefined when there is none. */
  async run<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    if (this.#taken >= this.#most) return undefined;
    this.#taken++;
    try {
      return await work();
    } finally {
      this.#taken--;
    }
  }
}
