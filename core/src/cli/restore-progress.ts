import type { RestoreProgress } from '../restore/restore.ts';
import { ByteProgress } from './byte-progress.ts';

/** Turns the progress of a restore into one line of text. */
export class RestoreProgressText {
  readonly #bytes: ByteProgress;
  #progress: RestoreProgress | undefined;

  /** With `bar` a bar is drawn. */
  constructor(options: { readonly bar: boolean }) {
    this.#bytes = new ByteProgress(options);
  }

  update(progress: RestoreProgress): void {
    this.#progress = progress;
    this.#bytes.update(progress.bytes);
  }

  toString(): string {
    switch (this.#progress?.stage) {
      case undefined:
        return 'restore: reading the manifest';
      case 'checking':
        return `restore: checking what is there already: ${this.#share(this.#progress)}`;
      case 'copying':
        return `restore: ${this.#share(this.#progress)}`;
      case 'wal':
        return 'restore: fetching the WAL of the backup';
      case 'syncing':
        return 'restore: making the files durable';
    }
  }

  #share({ totalBytes, files }: RestoreProgress): string {
    return this.#bytes.text(totalBytes, `, ${files} files`);
  }
}
