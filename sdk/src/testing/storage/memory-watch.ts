/** How much more memory this process has than when the watch began: the most of many looks. */
export class MemoryWatch {
  readonly #begin = process.memoryUsage.rss();
  #most = this.#begin;
  readonly #timer = setInterval(() => this.#look(), 50);

  /** Bytes. */
  get growth(): number {
    this.#look();
    return this.#most - this.#begin;
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    this.#most = Math.max(this.#most, process.memoryUsage.rss());
  }
}
