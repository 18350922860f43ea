import { refusal, type Refusal } from './refusal.ts';

/** So many at once, some more wait; who comes then is refused. */
export class Turnstile {
  readonly #places: number;
  readonly #most: number;
  #inside = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number, waiting: number) {
    this.#places = places;
    this.#most = waiting;
  }

  /** Does the work when there is a place. A caller that has left while he waited keeps his place in the line, and does nothing in it. */
  async run<Result>(work: () => Promise<Result>): Promise<Result | Refusal> {
    if (this.#inside >= this.#places) {
      if (this.#waiting.length >= this.#most)
        return refusal('DAEMON_BUSY', `${this.#inside} requests of this kind are under way, and ${this.#most} wait`);
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    } else this.#inside++;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#inside--;
      else next();
    }
  }
}
