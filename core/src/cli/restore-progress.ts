import type { RestoreProgress } from '../restore/restore.ts';
import { formatBytes, formatDuration } from './format.ts';

/** Milliseconds over which the rate is taken. */
const WINDOW = 10_000;
const BAR = 24;

/** Turns the progress of a restore into one line of text, with the rate of the last ten seconds. */
export class RestoreProgressText {
  readonly #bar: boolean;
  #samples: { readonly time: number; readonly bytes: number }[] = [];
  #progress: RestoreProgress | undefined;

  /** With `bar` a bar is drawn. */
  constructor(options: { readonly bar: boolean }) {
    this.#bar = options.bar;
  }

  update(progress: RestoreProgress): void {
    this.#progress = progress;
    const time = performance.now();
    const last = this.#samples.at(-1);
    // It is called for every chunk: ten samples a second are enough.
    if (last !== undefined && time - last.time < 100) return;
    this.#samples.push({ time, bytes: progress.bytes });
    while ((this.#samples[1]?.time ?? time) < time - WINDOW) this.#samples.shift();
  }

  toString(): string {
    switch (this.#progress?.stage) {
      case undefined:
        return 'restore: reading the manifest';
      case 'checking':
        return `restore: checking what is there already: ${this.#share()}`;
      case 'copying':
        return `restore: ${this.#share()}`;
      case 'wal':
        return 'restore: fetching the WAL of the backup';
      case 'syncing':
        return 'restore: making the files durable';
    }
  }

  #share(): string {
    const { bytes, totalBytes, files } = this.#progress ?? { bytes: 0, totalBytes: 0, files: 0 };
    const share = totalBytes === 0 ? 1 : Math.min(bytes / totalBytes, 1);
    const filled = Math.round(share * BAR);
    const bar = this.#bar ? `[${'#'.repeat(filled)}${'-'.repeat(BAR - filled)}] ` : '';
    const rate = this.#rate();
    const speed = rate === undefined ? '' : `, ${formatBytes(rate)}/s`;
    const left =
      rate === undefined || rate === 0 ? '' : `, ${formatDuration(((totalBytes - bytes) / rate) * 1000)} left`;
    return `${bar}${Math.floor(share * 100)}% ${formatBytes(bytes)} of ${formatBytes(totalBytes)}, ${files} files${speed}${left}`;
  }

  /** Bytes a second; undefined when it is too early to say. */
  #rate(): number | undefined {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.time - first.time < 500) return undefined;
    return ((last.bytes - first.bytes) / (last.time - first.time)) * 1000;
  }
}
