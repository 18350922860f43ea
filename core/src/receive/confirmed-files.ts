import { appendFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../contracts/errors.ts';
import { writeDurably } from './durable-file.ts';
import { guard, spoolError } from './spool-error.ts';
import type { Spool } from './spool.ts';

/**
 * Which repositories have confirmed files that stay in the spool because another one lacks them, in a file beside the spool. Without
 * it the next run would have to compare all of them with a repository that has them, before it could ship anything new.
 *
 * A confirmation is that of a repository with an id, as `known-repositories.ts` remembers it: another repository under the same name
 * has confirmed nothing (H-23). Losing one only costs a comparison, so that they need not survive a crash of the machine.
 */
export class ConfirmedFiles {
  readonly #path: string;
  readonly #spool: Spool;
  /** By file, `<system identifier> <name>`: the ids of the repositories that have it. Only of what an earlier run left. */
  readonly #earlier: ReadonlyMap<string, ReadonlySet<string>>;

  /** At the start of a run. Forgets what is no longer in the spool: what comes under its name later was confirmed by nobody. */
  constructor(spool: Spool) {
    this.#spool = spool;
    this.#path = join(spool.folder, 'confirmed');
    this.#earlier = this.#tidy();
  }

  /** The ids of the repositories that had confirmed a file of the spool when the run began. */
  of(systemId: string, name: string): ReadonlySet<string> {
    return this.#earlier.get(`${systemId} ${name}`) ?? new Set();
  }

  /** The repository has the file, and another one does not yet. */
  add(systemId: string, name: string, repositoryId: string | undefined): void {
    if (repositoryId === undefined) return;
    guard(this.#path, () => {
      appendFileSync(this.#path, `${systemId} ${name} ${repositoryId}\n`, { mode: 0o600 });
    });
  }

  #tidy(): ReadonlyMap<string, ReadonlySet<string>> {
    const text = readIfPresent(this.#path);
    if (text === undefined) return new Map();
    const present = new Set(
      this.#spool.systemIds().flatMap((id) => this.#spool.files(id).map(({ file }) => `${id} ${file.name}`)),
    );
    const kept = new Map<string, Set<string>>();
    // A crash may have cut the last line: without its end it counts for nothing.
    for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
      const [, file, id] = /^(\d+ [0-9A-Z.a-z]+) (\S+)$/.exec(line) ?? [];
      if (file === undefined || id === undefined || !present.has(file)) continue;
      kept.set(file, (kept.get(file) ?? new Set()).add(id));
    }
    const lines = [...kept].flatMap(([file, ids]) => [...ids].map((id) => `${file} ${id}\n`));
    try {
      if (lines.length === 0) rmSync(this.#path);
      else writeDurably(this.#path, Buffer.from(lines.join('')));
    } catch (error) {
      // A full disk is what a new run may be started for: it has to begin shipping, and can forget later.
      if (errnoOf(error) !== 'ENOSPC' && errnoOf(error) !== 'EDQUOT') throw spoolError(this.#path, error);
    }
    return kept;
  }
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw spoolError(path, error);
  }
}
