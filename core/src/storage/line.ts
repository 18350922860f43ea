import { throwIfAborted } from '../contracts/errors.ts';

/** So many at once, the others in the order in which they came. */
export class Line {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  readonly #what: string;

  /** `what` is cancelled when a signal fires, for the message. */
  constructor(places: number, what: string) {
    this.#free = places;
    this.#what = what;
  }

  async enter(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal, this.#what);
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        try {
          throwIfAborted(signal, this.#what);
        } catch (error) {
          reject(error);
        }
      };
      const go = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting.push(go);
    });
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
