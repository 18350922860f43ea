/** What `archive_command` does for the repositories that work while another one holds up the archiver of PostgreSQL. */
import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../contracts/errors.ts';
import { isSegmentSize, parseWalFileName, segmentNumberOf, type WalFile } from '../postgres/wal-file.ts';
import { repositoryFailure, type RepositoryFailure } from '../repository/repository-failure.ts';
import type { Repository } from '../repository/repository.ts';
import { withDeadline } from './deadline.ts';
import { systemMismatch, type FileChecks } from './local-file.ts';

/** Milliseconds between two looks for files that became ready. */
const PAUSE = 1000;

export interface LookAheadOptions {
  readonly repository: Repository;
  readonly systemId: string;
  /** Where the file of the command lies, and its name: it is not looked at again. */
  readonly path: string;
  readonly name: string;
  readonly files: FileChecks;
  /** Whose WAL the command was told that it is. */
  readonly given: string | undefined;
  /** Settles when every repository has answered for the file of the command: what is ready then is archived still, and no more. */
  readonly answered: Promise<unknown>;
  /** When it ends, whatever it is at, in the time of `performance.now()`. */
  readonly end: number;
  /** Ends it at once. */
  readonly signal: AbortSignal;
}

/** What a look ahead has done. */
export interface LookAheadResult {
  readonly repository: string;
  /** Files that were stored. */
  readonly stored: number;
  /** Why it ended early. The file has its own turn, which will tell the server. */
  readonly failure?: RepositoryFailure;
}

/**
 * Archives in one repository what PostgreSQL has marked as ready beside the file of the command, in its order. Nothing is changed in
 * `archive_status`: each file still has its turn, and finds itself archived then. Never throws.
 */
export async function lookAhead(options: LookAheadOptions): Promise<LookAheadResult> {
  const { repository, answered, end, signal } = options;
  const { name } = repository;
  const over = (): boolean => signal.aborted || performance.now() >= end;
  let last = false;
  void answered.then(() => (last = true));
  const held = new Held(options);
  let stored = 0;
  try {
    for (;;) {
      const lastLook = last;
      const files = await readyFiles(options.path);
      for (const file of files) {
        if (over()) return { repository: name, stored };
        if (await held.has(file)) continue;
        if ((await push(file, options)) === 'stored') stored++;
        held.add(file);
      }
      if (lastLook || over()) return { repository: name, stored };
      await Promise.race([answered, sleep(PAUSE, undefined, { signal, ref: false })]);
    }
  } catch (error) {
    return over()
      ? { repository: name, stored }
      : { repository: name, stored, failure: repositoryFailure(name, error) };
  }
}

async function push(file: WalFile, options: LookAheadOptions): Promise<'stored' | 'present'> {
  const { repository, systemId, path, files, given, end, signal } = options;
  const left = Math.max(end - performance.now(), 0);
  return withDeadline(`archiving ${file.name}`, left, signal, async (either) => {
    const found = await files.get(file, join(dirname(path), file.name), given);
    if (found.systemId !== systemId) throw systemMismatch(file, found.systemId, systemId);
    return repository.wal(systemId).push(file.name, found.source(either), { signal: either });
  });
}

/** Names that the repository has: what an earlier command has archived ahead is not read and sent again by each later one. */
class Held {
  readonly #options: LookAheadOptions;
  readonly #names: Set<string>;
  /** Timelines whose segments were listed, which is done once. */
  readonly #listed = new Set<number>();

  constructor(options: LookAheadOptions) {
    this.#options = options;
    this.#names = new Set([options.name]);
  }

  add(file: WalFile): void {
    this.#names.add(file.name);
  }

  async has(file: WalFile): Promise<boolean> {
    if (file.kind === 'segment' && !this.#names.has(file.name) && !this.#listed.has(file.timeline)) {
      await this.#list(file);
      this.#listed.add(file.timeline);
    }
    return this.#names.has(file.name);
  }

  /** Files come in order, so that the first one of a timeline is where the listing begins. */
  async #list(first: Extract<WalFile, { readonly kind: 'segment' | 'partial' }>): Promise<void> {
    const { repository, systemId, path, signal } = this.#options;
    const { size } = await stat(join(dirname(path), first.name));
    if (!isSegmentSize(size)) return; // the push will say what is wrong with it
    const from = segmentNumberOf(first, size);
    const segments = repository.wal(systemId).segments(first.timeline, { from, segmentSize: size, signal });
    for await (const { file } of segments) this.add(file);
  }
}

/** What waits for `archive_command` beside this file, in the order in which PostgreSQL asks for it: history files, then by name. */
export async function readyFiles(path: string): Promise<readonly WalFile[]> {
  let names: readonly string[];
  try {
    names = await readdir(join(dirname(path), 'archive_status'));
  } catch (error) {
    // A file that lies elsewhere, such as a rescued one, has nothing beside it.
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  const files = names.flatMap((name) =>
    name.endsWith('.ready') ? (parseWalFileName(name.slice(0, -'.ready'.length)) ?? []) : [],
  );
  const rank = ({ kind, name }: WalFile): string => (kind === 'history' ? `0${name}` : `1${name}`);
  return files.toSorted((one, other) => (rank(one) < rank(other) ? -1 : 1));
}
