import { throwIfAborted } from 'pgark/contracts';

/** A question to a service that all calls share: it is asked once, and again only after it has failed. None of the calls cancels it. */
export class AskedOnce {
  readonly #ask: () => Promise<void>;
  #answer: Promise<void> | undefined;

  constructor(ask: () => Promise<void>) {
    this.#ask = ask;
  }

  /** Waits for the answer. Errors: those of the question; `ABORTED`, with `what` was to be done. */
  async get(signal: AbortSignal | undefined, what: string): Promise<void> {
    const answer = (this.#answer ??= this.#ask());
    try {
      await answer;
    } catch (error) {
      if (this.#answer === answer) this.#answer = undefined;
      throw error;
    }
    throwIfAborted(signal, what);
  }
}
