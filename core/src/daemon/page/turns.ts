/** Lets a few pieces of work go on at once, and refuses more: who asks over a network must not be able to fill the process with work. */
export class Turns {
  readonly #most: number;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Does the work, or gives undefined at once while as much as may be is going on. */
  async take<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    if (this.#taken >= this.#most) return undefined;
    this.#taken += 1;
    try {
      return await work();
    } finally {
      this.#taken -= 1;
    }
  }
}
