import { ArchiveError } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { behindRuns, factsPrefix, formatStamp, parseFactKey, runsPrefix } from './layout.ts';
import { childNames, putBytes, readSmall, signalOf } from './objects.ts';
import type { RepositoryContext } from './repository.ts';
import { checkSeal, sealed, withoutSeal } from './seal.ts';

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

/** The kind that says of a backup that its removal has begun: from then on it is no backup any more. */
export const EXPIRED = 'expired';

/** A fact by its name alone. */
export interface FactName {
  readonly key: string;
  /** A backup's id, `wal`, `locks`, or `job-` and the name of a job. */
  readonly subject: string;
  readonly kind: string;
  /** Epoch milliseconds. */
  readonly time: number;
  /** As stored. */
  readonly size: number;
  /** When the storage took it, epoch milliseconds. */
  readonly modified: number;
}

/** The facts of one system identifier: pins, results of drills and verifications, recorded gaps, runs of jobs. */
export class Facts {
  readonly #context: RepositoryContext;
  readonly #systemId: string;

  constructor(context: RepositoryContext, systemId: string) {
    this.#context = context;
    this.#systemId = systemId;
  }

  /** Adds a fact. Two of one kind in the same millisecond are `STORAGE_EXISTS`. */
  async add(subject: string, fact: Fact, options: CallOptions = {}): Promise<void> {
    await putBytes(this.#context.storage, this.keyOf(subject, fact), sealed(fact), options);
  }

  /** Where a fact is. */
  keyOf(subject: string, { kind, time }: Pick<Fact, 'kind' | 'time'>): string {
    return `${this.#prefix(subject)}${formatStamp(time)}-${kind}.json`;
  }

  /**
   * All facts of a subject, or those that were added since a moment (epoch milliseconds), oldest first. One that cannot be read is
   * `REPOSITORY_FORMAT`, not skipped.
   */
  async list(subject: string, options: CallOptions & { readonly since?: number } = {}): Promise<readonly Fact[]> {
    const facts: Fact[] = [];
    for await (const name of this.names({ ...options, subject })) facts.push(await this.read(name, options));
    return facts;
  }

  /**
   * The names of all facts but those about runs, or of those of a subject, each subject's oldest first; of a subject also those only that
   * were added since a moment (epoch milliseconds). What is no fact is skipped.
   */
  async *names(
    options: CallOptions & { readonly subject?: string; readonly since?: number } = {},
  ): AsyncGenerator<FactName> {
    const { subject, since } = options;
    const { storage, cluster } = this.#context;
    const all = factsPrefix(cluster, this.#systemId);
    const runs = runsPrefix(cluster, this.#systemId);
    const below = subject === undefined ? all : this.#prefix(subject);
    let after = subject === undefined || since === undefined ? undefined : below + formatStamp(since);
    for (;;) {
      let jump = false;
      const from = after === undefined ? {} : { startAfter: after };
      for await (const { key, size, modified } of storage.list(below, { ...signalOf(options), ...from })) {
        // There may be more of them than of all others, and who asks for all is not after them.
        jump = subject === undefined && key.startsWith(runs);
        if (jump) break;
        const parsed = parseFactKey(key.slice(all.length));
        if (parsed !== undefined) yield { ...parsed, key, size, modified };
      }
      if (!jump) return;
      after = behindRuns(cluster, this.#systemId);
    }
  }

  /** The names of the jobs of which runs are on record. Errors: those of the storage. */
  async jobs(options: CallOptions = {}): Promise<readonly string[]> {
    const prefix = runsPrefix(this.#context.cluster, this.#systemId);
    const names: string[] = [];
    for await (const name of childNames(this.#context.storage, prefix, options)) names.push(name);
    return names;
  }

  /** The newest fact of a kind; undefined without any. Errors: `REPOSITORY_FORMAT`, those of the storage. */
  async newest(subject: string, kind: string, options: CallOptions = {}): Promise<Fact | undefined> {
    let last: FactName | undefined;
    for await (const found of this.names({ ...options, subject })) if (found.kind === kind) last = found;
    return last && this.read(last, options);
  }

  /**
   * By subject, the newest fact of a kind that `wanted` accepts; a subject without one is absent. One listing for all subjects, and few
   * reads. Errors: `REPOSITORY_FORMAT`, those of the storage.
   */
  async newestOfEach(
    kind: string,
    wanted: (fact: Fact) => boolean,
    options: CallOptions = {},
  ): Promise<ReadonlyMap<string, Fact>> {
    const names = new Map<string, FactName[]>();
    for await (const name of this.names(options))
      if (name.kind === kind) names.set(name.subject, [...(names.get(name.subject) ?? []), name]);
    const found = new Map<string, Fact>();
    for (const [subject, own] of names) {
      for (const name of own.toReversed()) {
        const fact = await this.read(name, options);
        if (!wanted(fact)) continue;
        found.set(subject, fact);
        break;
      }
    }
    return found;
  }

  /** What a fact says. Errors: `REPOSITORY_FORMAT` for one that is not as it was written, those of the storage. */
  async read({ key }: Pick<FactName, 'key'>, options: CallOptions = {}): Promise<Fact> {
    const bytes = await readSmall(this.#context.storage, key, options);
    const { sealed: isSealed, fault } = checkSeal(bytes);
    // A pin whose end has changed by one bit must not end.
    if (isSealed && fault !== undefined) throw new ArchiveError('REPOSITORY_FORMAT', `${key} ${fault}`);
    try {
      return withoutSeal(JSON.parse(Buffer.from(bytes).toString('utf8')) as Fact);
    } catch (error) {
      throw new ArchiveError('REPOSITORY_FORMAT', `${key} is not a fact`, { cause: error });
    }
  }

  #prefix(subject: string): string {
    return factsPrefix(this.#context.cluster, this.#systemId, subject);
  }
}
