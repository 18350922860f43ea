import type { LockProgress } from '../archive/extend-locks.ts';
import type { BackupProgress } from '../backup/backup.ts';
import { ByteProgress } from './byte-progress.ts';
import { formatBytes } from '../documents/format.ts';

/** Turns the progress of a backup into one line of text, with the rate of the last ten seconds. */
export class BackupProgressText {
  readonly #bar: boolean;
  readonly #bytes: ByteProgress;
  #progress: BackupProgress | undefined;

  /** With `bar` a bar is drawn. `now` gives milliseconds. */
  constructor(options: { readonly bar: boolean; readonly now?: () => number }) {
    this.#bar = options.bar;
    this.#bytes = new ByteProgress(options);
  }

  update(progress: BackupProgress): void {
    this.#progress = progress;
    if (progress.stage === 'copying') this.#bytes.update(progress.bytes);
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

  /** The total is an estimate: the server goes on working. */
  #copying({ totalBytes = 0 }: BackupProgress): string {
    return this.#bytes.text(totalBytes);
  }
}

export function lockingText({ repository, looked, extended }: LockProgress): string {
  return `extending locks in ${repository}: ${extended} of ${looked} looked at`;
}
