/** Reproducible randomness: the same seed gives the same values. */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
  }

  /** From 0 up to but not including `limit` (at most 2^32). The generator is mulberry32. */
  integer(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  bytes(length: number): Uint8Array {
    const words = new Uint32Array(Math.ceil(length / 4));
    for (let index = 0; index < words.length; index++) words[index] = this.integer(2 ** 32);
    return new Uint8Array(words.buffer, 0, length);
  }

  /** Lower case letters and digits. */
  name(length: number): string {
    return Array.from({ length }, () => this.integer(36).toString(36)).join('');
  }

  pick<Value>(values: readonly Value[]): Value {
    const value = values[this.integer(values.length)];
    if (value === undefined) throw new RangeError('nothing to pick from');
    return value;
  }

  shuffled<Value>(values: readonly Value[]): Value[] {
    return values
      .map((value) => ({ value, rank: this.integer(2 ** 32) }))
      .sort((left, right) => left.rank - right.rank)
      .map(({ value }) => value);
  }
}
