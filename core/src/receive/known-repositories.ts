import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArchiveError, errnoOf } from '../contracts/errors.ts';
import { writeDurably } from './durable-file.ts';
import { guard, spoolError } from './spool-error.ts';

/**
 * The ids of the repositories that this spool was shipped to, by their names in the config, in a file beside the spool. A
 * disk that is not mounted is an empty folder: without this it would be taken for a new repository, and the spool emptied into it.
 */
export class KnownRepositories {
  /** The file, for messages. */
  readonly path: string;
  #ids: ReadonlyMap<string, string> | undefined;
  /** Names of this run; others may be what a repository was called before. */
  readonly #used = new Set<string>();

  /** In the folder of the cluster in the spool, which exists. */
  constructor(folder: string) {
    this.path = join(folder, 'repositories.json');
  }

  /** The id of a repository when it was used last; undefined for a new one. */
  idOf(name: string): string | undefined {
    return this.#read().get(name);
  }

  remember(name: string, id: string): void {
    const ids = new Map(this.#read()).set(name, id);
    const text = `${JSON.stringify(Object.fromEntries(ids), undefined, 2)}\n`;
    guard(this.path, () => {
      writeDurably(this.path, Buffer.from(text));
    });
    this.#ids = ids;
  }

  /** Says that a repository is used in this run; gives the name of another one that is and has the same id. */
  use(name: string): string | undefined {
    const id = this.idOf(name);
    this.#used.add(name);
    return [...this.#used].find((other) => other !== name && this.idOf(other) === id);
  }

  #read(): ReadonlyMap<string, string> {
    this.#ids ??= parse(this.path);
    return this.#ids;
  }
}

function parse(path: string): ReadonlyMap<string, string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return new Map();
    throw spoolError(path, error);
  }
  try {
    return new Map(Object.entries(JSON.parse(text) as Record<string, string>));
  } catch (error) {
    throw new ArchiveError('SPOOL_INVALID', `${path} is not a list of repositories`, { cause: error });
  }
}
