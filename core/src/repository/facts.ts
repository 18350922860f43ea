import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { factsPrefix } from './layout.ts';
import { putBytes, readSmall, signalOf } from './objects.ts';
import type { RepositoryContext } from './repository.ts';

/** Something that was found out about a backup or about the WAL (`subject` `wal`), added once and never changed. */
export interface Fact {
  readonly kind: string;
  /** Epoch milliseconds. */
  readonly time: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A fact and where it is. */
export interface KeyedFact {
  readonly key: string;
  readonly subject: string;
  readonly fact: Fact;
}

const NAME = /^([0-9]{8}T[0-9]{9}Z)-([a-z][a-z-]*)\.json$/;

/** The facts of one system identifier: pins, results of drills, recorded gaps. */
export class Facts {
  readonly #context: RepositoryContext;
  readonly #systemId: string;

  constructor(context: RepositoryContext, systemId: string) {
    this.#context = context;
    this.#systemId = systemId;
  }

  /** Adds a fact. Two of one kind in the same millisecond are `STORAGE_EXISTS`. */
  async add(subject: string, fact: Fact, options: CallOptions = {}): Promise<void> {
    const stamp = new Date(fact.time).toISOString().replaceAll(/[-:.]/g, '');
    const key = `${this.#prefix(subject)}${stamp}-${fact.kind}.json`;
    await putBytes(this.#context.storage, key, Buffer.from(`${JSON.stringify(fact, undefined, 2)}\n`), options);
  }

  /** All facts of a subject, oldest first. One that cannot be read is `REPOSITORY_FORMAT`, not skipped. */
  async list(subject: string, options: CallOptions = {}): Promise<readonly Fact[]> {
    const facts: Fact[] = [];
    const prefix = this.#prefix(subject);
    for await (const { key } of this.#context.storage.list(prefix, signalOf(options))) {
      if (!NAME.test(key.slice(prefix.length))) continue;
      const text = Buffer.from(await readSmall(this.#context.storage, key, options)).toString('utf8');
      try {
        facts.push(JSON.parse(text) as Fact);
      } catch (error) {
        throw new ArchiveError('REPOSITORY_FORMAT', `${key} is not a fact`, { cause: error });
      }
    }
    return facts;
  }

  /** Facts of every subject, but for those whose key is known; one after the other by key. Errors: as for {@link list}. */
  async *all(options: CallOptions & { readonly known?: ReadonlySet<string> } = {}): AsyncGenerator<KeyedFact> {
    const { storage, cluster } = this.#context;
    const prefix = factsPrefix(cluster, this.#systemId);
    for await (const { key } of storage.list(prefix, signalOf(options))) {
      const [, subject, name = ''] = /^([^/]+)\/([^/]+)$/.exec(key.slice(prefix.length)) ?? [];
      if (subject === undefined || !NAME.test(name) || options.known?.has(key) === true) continue;
      const text = Buffer.from(await readSmall(storage, key, options)).toString('utf8');
      try {
        yield { key, subject, fact: JSON.parse(text) as Fact };
      } catch (error) {
        throw new ArchiveError('REPOSITORY_FORMAT', `${key} is not a fact`, { cause: error });
      }
    }
  }

  #prefix(subject: string): string {
    return factsPrefix(this.#context.cluster, this.#systemId, subject);
  }
}
