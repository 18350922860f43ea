/** What a run has looked at and found good, in a file, so that one that was interrupted goes on from there. */
import { appendFileSync, readFileSync, rmSync } from 'node:fs';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import type { VerifyLevel } from './finding.ts';

/** What must be the same for a run to go on with the file of another. */
export interface JournalRun {
  readonly level: VerifyLevel;
  readonly seed: number;
  /** Names and ids of the repositories. */
  readonly repositories: readonly string[];
}

/** How far the WAL of a timeline was read. */
export interface WalMark {
  /** The last object that was read. */
  readonly through: string;
  /** SHA-256 over names and sizes of everything up to there: what was removed or came since shows in it. */
  readonly listing: string;
  /** Objects up to there that are to be read again: they were not found good. */
  readonly again: readonly string[];
}

type Line =
  | { readonly run: JournalRun }
  | { readonly good: string; readonly size: number }
  | { readonly wal: string; readonly mark: WalMark };

/** Keeps nothing. */
export class Journal {
  /** Whether the object was found good before, when it had this size: objects are written once, so it is the same one. */
  isGood(_key: string, _size: number): boolean {
    return false;
  }

  good(_key: string, _size: number): void {}

  /** How far the WAL of a place was read. */
  mark(_place: string): WalMark | undefined {
    return undefined;
  }

  setMark(_place: string, _mark: WalMark): void {}

  /** The run is over. */
  remove(): void {}
}

/** Keeps it in a file, of which each line is one JSON value. */
export class FileJournal extends Journal {
  readonly #path: string;
  readonly #good = new Map<string, number>();
  readonly #marks = new Map<string, WalMark>();
  #seed: number;

  /**
   * Opens the file, or begins it. An old one says with which seed it was begun.
   * Errors: `USAGE` for a file of another level or other repositories, or that is none of ours; `CONFIG_INVALID` for one that cannot be written.
   */
  constructor(path: string, run: JournalRun) {
    super();
    this.#path = path;
    this.#seed = run.seed;
    const lines = this.#read();
    const [first] = lines;
    if (first === undefined) {
      this.#write({ run });
      return;
    }
    const before = 'run' in first ? first.run : undefined;
    const same = before?.level === run.level && before.repositories.join('\n') === run.repositories.join('\n');
    if (before === undefined || !same)
      throw new ArchiveError('USAGE', `${path} is not of such a run: it cannot be resumed`, {
        hint: 'Give the level and the repositories of the run that was interrupted, or name a file that does not exist.',
      });
    this.#seed = before.seed;
    for (const line of lines.slice(1)) {
      if ('good' in line) this.#good.set(line.good, line.size);
      else if ('wal' in line) this.#marks.set(line.wal, line.mark);
    }
  }

  /** That of the run that was interrupted. */
  get seed(): number {
    return this.#seed;
  }

  /** Whether anything was looked at before. */
  get isResumed(): boolean {
    return this.#good.size + this.#marks.size > 0;
  }

  override isGood(key: string, size: number): boolean {
    return this.#good.get(key) === size;
  }

  override good(key: string, size: number): void {
    this.#write({ good: key, size });
  }

  override mark(place: string): WalMark | undefined {
    return this.#marks.get(place);
  }

  override setMark(place: string, mark: WalMark): void {
    this.#write({ wal: place, mark });
  }

  override remove(): void {
    rmSync(this.#path, { force: true });
  }

  #read(): readonly Line[] {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw this.#unusable(error);
    }
    // The last line is whole only with its end: a crash may have cut it.
    return text
      .split('\n')
      .slice(0, -1)
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as Line];
        } catch {
          return []; // what a crash left: the object is looked at again
        }
      });
  }

  #write(line: Line): void {
    try {
      appendFileSync(this.#path, `${JSON.stringify(line)}\n`);
    } catch (error) {
      throw this.#unusable(error);
    }
  }

  #unusable(error: unknown): ArchiveError {
    return new ArchiveError('USAGE', `${this.#path} cannot be used to resume from (${errnoOf(error) ?? 'error'})`, {
      hint: 'Name a file in a folder that this user may write into.',
      cause: error,
    });
  }
}
