import { formatBytes, formatDuration } from '../documents/format.ts';

/** Milliseconds over which the rate is taken. */
const WINDOW = 10_000;
/** Milliseconds between two samples, and the least time from which a rate is taken. */
const SAMPLE = 100;
const LEAST = 500;
const BAR = 20;

/** How many bytes have passed, at which rate in the last ten seconds, and how long the rest will take. */
export class ByteProgress {
  readonly #bar: boolean;
  readonly #now: () => number;
  #samples: { readonly time: number; readonly bytes: number }[] = [];
  #bytes = 0;

  /** With `bar` a bar is drawn. `now` gives milliseconds. */
  constructor(options: { readonly bar: boolean; readonly now?: () => number }) {
    this.#bar = options.bar;
    this.#now = options.now ?? ((): number => performance.now());
  }

  /** May be called for every chunk. */
  update(bytes: number): void {
    this.#bytes = bytes;
    const time = this.#now();
    const last = this.#samples.at(-1);
    if (last !== undefined && time - last.time < SAMPLE) return;
    this.#samples.push({ time, bytes });
    while ((this.#samples[1]?.time ?? time) < time - WINDOW) this.#samples.shift();
  }

  /**
   * `[#####---------------] 25% 1.0 GiB of 4.0 GiB, 100.0 MiB/s, 30.7 s left`, with `more` behind the sizes. Without a total, which may
   * be an estimate, there is no share to show.
   */
  text(totalBytes: number, more = ''): string {
    const bytes = this.#bytes;
    const rate = this.#rate();
    const speed = rate === undefined ? '' : `, ${formatBytes(rate)}/s`;
    if (totalBytes <= 0) return `${formatBytes(bytes)}${more}${speed}`;
    const share = Math.min(bytes / totalBytes, 1);
    const filled = Math.round(share * BAR);
    const bar = this.#bar ? `[${'#'.repeat(filled)}${'-'.repeat(BAR - filled)}] ` : '';
    const known = rate !== undefined && rate > 0 && bytes < totalBytes;
    const left = known ? `, ${formatDuration(((totalBytes - bytes) / rate) * 1000)} left` : '';
    return `${bar}${Math.floor(share * 100)}% ${formatBytes(bytes)} of ${formatBytes(totalBytes)}${more}${speed}${left}`;
  }

  /** Bytes a second; undefined when it is too early to say. */
  #rate(): number | undefined {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.time - first.time < LEAST) return undefined;
    return ((last.bytes - first.bytes) / (last.time - first.time)) * 1000;
  }
}
