import type { BackupProgress } from '../backup/backup.ts';
import { formatBytes, formatDuration } from './format.ts';

/** Milliseconds over which the rate is taken. */
const WINDOW = 10_000;
const BAR = 20;

/** Turns the progress of a backup into one line of text, with the rate of the last ten seconds. */
export class BackupProgressText {
  readonly #bar: boolean;
  readonly #now: () => number;
  #samples: { readonly time: number; readonly bytes: number }[] = [];
  #progress: BackupProgress | undefined;

  /** With `bar` a bar is drawn. `now` gives milliseconds. */
  constructor(options: { readonly bar: boolean; readonly now?: () => number }) {
    this.#bar = options.bar;
    this.#now = options.now ?? ((): number => performance.now());
  }

  update(progress: BackupProgress): void {
    this.#progress = progress;
    if (progress.stage !== 'copying') return;
    const time = this.#now();
    this.#samples.push({ time, bytes: progress.bytes });
    while ((this.#samples[1]?.time ?? time) < time - WINDOW) this.#samples.shift();
  }

  toString(): string {
    const progress = this.#progress;
    switch (progress?.stage) {
      case undefined:
      case 'connecting':
        return 'connecting';
      case 'checkpoint':
        return `backup ${progress.id}: waiting for a checkpoint of the server`;
      case 'copying':
        // The bar and its figures fill the eighty columns of a terminal.
        return this.#bar ? this.#copying(progress) : `backup ${progress.id}: ${this.#copying(progress)}`;
      case 'finishing':
        return `backup ${progress.id}: storing the last of ${formatBytes(progress.bytes)}`;
      case 'waiting': {
        const { wal } = progress;
        const what =
          wal?.awaited === undefined
            ? 'its WAL'
            : `${wal.awaited} (${wal.archived} of ${wal.needed} WAL files are there)`;
        return `backup ${progress.id}: waiting for ${wal?.repository ?? 'the archive'} to hold ${what}`;
      }
    }
  }

  #copying({ bytes, totalBytes = 0 }: BackupProgress): string {
    const rate = this.#rate();
    const speed = rate === undefined ? '' : `, ${formatBytes(rate)}/s`;
    // The total is an estimate: the server goes on working. Without one there is no percentage to show.
    if (totalBytes <= 0) return `${formatBytes(bytes)}${speed}`;
    const share = Math.min(bytes / totalBytes, 1);
    const filled = Math.round(share * BAR);
    const bar = this.#bar ? `[${'#'.repeat(filled)}${'-'.repeat(BAR - filled)}] ` : '';
    const left =
      rate === undefined || rate === 0 ? '' : `, ${formatDuration(((totalBytes - bytes) / rate) * 1000)} left`;
    return `${bar}${Math.floor(share * 100)}% ${formatBytes(bytes)} of ${formatBytes(totalBytes)}${speed}${bytes >= totalBytes ? '' : left}`;
  }

  /** Bytes a second; undefined when it is too early to say. */
  #rate(): number | undefined {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.time - first.time < 500) return undefined;
    return ((last.bytes - first.bytes) / (last.time - first.time)) * 1000;
  }
}
