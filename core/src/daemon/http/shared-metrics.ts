import type { MetricsSource } from './app.ts';

/** Milliseconds for which what was collected is given to those who come next: far less than any pause between two scrapes. */
const LASTS = 1000;

/**
 * The metrics, collected once at a time however many ask for them, and not again for who asks in a loop. What a collection gives is at most a
 * second old when somebody gets it who came after its end.
 */
export class SharedMetrics implements MetricsSource {
  readonly #source: MetricsSource;
  readonly #now: () => number;
  #collecting: Promise<string> | undefined;
  #collected: { readonly text: string; readonly time: number } | undefined;

  /** `now`: milliseconds of a clock that only goes on. Default: that of the process. */
  constructor(source: MetricsSource, now: () => number = () => performance.now()) {
    this.#source = source;
    this.#now = now;
  }

  get contentType(): string {
    return this.#source.contentType;
  }

  /** Errors: those of the collection, for all who wait for it. */
  text(): Promise<string> {
    const last = this.#collected;
    if (last !== undefined && this.#now() - last.time < LASTS) return Promise.resolve(last.text);
    return (this.#collecting ??= this.#collect().finally(() => (this.#collecting = undefined)));
  }

  async #collect(): Promise<string> {
    const time = this.#now();
    const text = await this.#source.text();
    this.#collected = { text, time };
    return text;
  }
}
