/** What is archived in one repository before PostgreSQL asks for it. */
import type { Logger } from '../contracts/plugin.ts';
import type { WalFile } from '../postgres/wal-file.ts';
import type { Repository } from '../repository/repository.ts';
import { repositoryFailure, failureText } from '../repository/repository-failure.ts';
import { withDeadline } from '../wal-command/deadline.ts';
import { systemMismatch, type CheckedFile } from '../wal-command/local-file.ts';

/** A file that waits for its turn. */
export interface AheadFile {
  readonly file: WalFile;
  readonly path: string;
  readonly systemId: string;
  /** Reads it for its digest, once for all repositories. */
  readonly check: () => Promise<CheckedFile>;
}

export interface AheadLaneOptions {
  readonly repository: Repository;
  /** Files at once. */
  readonly concurrency: number;
  readonly logger: Logger;
  /** Ends all that is under way. */
  readonly signal: AbortSignal;
}

/** Milliseconds for one file. */
const LIMIT = 60_000;
/** Digests that are remembered, so that a file is not archived ahead with each request again. */
const MOST = 1024;

/** Archives files ahead, some at once; the first failure ends it until the next request, which will tell the server. */
export class AheadLane {
  readonly #options: AheadLaneOptions;
  #waiting: AheadFile[] = [];
  readonly #running = new Map<string, Promise<void>>();
  readonly #done = new Map<string, string>();

  constructor(options: AheadLaneOptions) {
    this.#options = options;
  }

  /** Replaces what waits by these, in their order. */
  follow(files: readonly AheadFile[]): void {
    this.#waiting = files.filter(({ path }) => !this.#running.has(path));
    this.#fill();
  }

  /** Drops what waits: the file of a request comes first. */
  async settled(path: string): Promise<void> {
    this.#waiting = this.#waiting.filter((file) => file.path !== path);
    await this.#running.get(path);
  }

  #fill(): void {
    const { concurrency, signal } = this.#options;
    while (this.#running.size < concurrency && !signal.aborted) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const work = this.#archive(next).finally(() => {
        this.#running.delete(next.path);
        this.#fill();
      });
      this.#running.set(next.path, work);
    }
  }

  /** Never rejects. */
  async #archive({ file, path, systemId, check }: AheadFile): Promise<void> {
    const { repository, logger, signal } = this.#options;
    try {
      const checked = await check();
      if (checked.systemId !== systemId) throw systemMismatch(file, checked.systemId, systemId);
      await withDeadline(`archiving ${file.name}`, LIMIT, signal, async (either) => {
        const source = checked.source(either);
        const digest = 'digest' in source ? source.digest : '';
        if (this.#done.get(path) === digest) return;
        // Not created here: the folder may be that of a disk that is not mounted.
        await repository.open({ signal: either });
        const outcome = await repository.wal(systemId).push(file.name, source, { signal: either });
        logger.debug({ file: file.name, repository: repository.name, outcome }, 'archived ahead');
        this.#done.set(path, digest);
        const [first] = this.#done.keys();
        if (this.#done.size > MOST && first !== undefined) this.#done.delete(first);
      });
    } catch (error) {
      this.#waiting = [];
      const failure = repositoryFailure(repository.name, error);
      if (!signal.aborted)
        logger.debug({ file: file.name, code: failure.error.code }, `not archived ahead: ${failureText(failure)}`);
    }
  }
}
