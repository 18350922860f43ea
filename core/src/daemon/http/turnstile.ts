import { Line } from '../../storage/line.ts';
import { refusal, type Refusal } from './refusal.ts';

/** So many at once, some more wait in line; who comes then is refused. */
export class Turnstile {
  readonly #line: Line;
  readonly #most: number;
  #present = 0;

  constructor(places: number, waiting: number) {
    this.#line = new Line(places, 'waiting in line');
    this.#most = places + waiting;
  }

  /** Does the work when there is a place. Errors: those of the work, and `ABORTED` when the signal fires before it begins. */
  async run<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result | Refusal> {
    if (this.#present >= this.#most)
      return refusal('DAEMON_BUSY', `${this.#present} requests of this kind are under way or wait`);
    this.#present++;
    try {
      await this.#line.enter(signal);
      try {
        return await work();
      } finally {
        this.#line.leave();
      }
    } finally {
      this.#present--;
    }
  }
}
