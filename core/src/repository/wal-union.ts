import { rename, rm } from 'node:fs/promises';
import { ArchiveError, isArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { historyName } from '../postgres/wal-file.ts';
import { allAnswers, READING } from './all-answers.ts';
import { firstAnswer, type AskOptions, type Attempt } from './first-answer.ts';
import { collect } from './objects.ts';
import { failureOf, isObjectFault, repositoryFailure, type RepositoryFailure } from './repository-failure.ts';
import type { Repository } from './repository.ts';
import { joinSlices, type TailSlice } from './tail.ts';
import { walConflict, type WalArchive, type WalObject, type WalReader } from './wal.ts';
import { writeWhole } from './whole-file.ts';

export type WalUnionOptions = Pick<AskOptions, 'patience' | 'onFailure'>;

/** The WAL of several repositories as if it were one; of one repository it is that repository's own. */
export function walReader(
  repositories: readonly [Repository, ...Repository[]],
  systemId: string,
  options: WalUnionOptions = {},
): WalReader {
  const members = repositories.map((repository) => ({ name: repository.name, wal: repository.wal(systemId) }));
  return repositories.length === 1 ? repositories[0].wal(systemId) : new WalUnion(systemId, members, options);
}

interface Member {
  readonly name: string;
  readonly wal: WalArchive;
}

/** A file that at least one of the repositories has. */
interface SharedObject extends WalObject {
  readonly copies: ReadonlyMap<Member, WalObject>;
}

interface SharedSlice extends TailSlice {
  readonly member: Member;
}

/** The largest segment that PostgreSQL knows. */
const LARGEST = 1024 * 1024 * 1024;

/**
 * Several repositories read as one. A file is asked for in their order, and the first verified copy counts; listings are those of all
 * repositories together, each name once. What is missing is missing in all of them: one that could not be asked makes it an error.
 * Segments of which two repositories hold different contents are listed with the conflict in them.
 *
 * A repository that failed as a whole is asked last from then on. Errors: those of the repositories, with their names; `WAL_CONFLICT` when
 * two that were asked hold different contents of one name.
 */
class WalUnion implements WalReader {
  readonly systemId: string;
  readonly #options: WalUnionOptions;
  #members: readonly Member[];

  constructor(systemId: string, members: readonly Member[], options: WalUnionOptions) {
    this.systemId = systemId;
    this.#members = members;
    this.#options = options;
  }

  async find(name: string, options: CallOptions = {}): Promise<WalObject | undefined> {
    return this.#first(
      this.#members,
      async (member, { signal }) => {
        const object = await member.wal.find(name, { signal });
        return object && shared([[member, object]]);
      },
      options,
    );
  }

  /** Gives nothing before all of it is verified: a segment is held in memory. */
  async *read(object: WalObject, options: CallOptions = {}): AsyncGenerator<Uint8Array> {
    yield await this.#copy(
      object,
      (member, copy, { signal, progress }) =>
        collect(tap(member.wal.read(copy, { signal }), progress), copy.key, LARGEST),
      options,
    );
  }

  async fetch(object: WalObject, path: string, options: CallOptions = {}): Promise<void> {
    const places = new Set<string>();
    const fetched = await this.#copy<{ readonly place: string } | { readonly fault: unknown }>(
      object,
      async (member, copy, { signal, progress }) => {
        // Two may be at it at the same time: each has a file of its own.
        const place = `${path}.${places.size + 1}`;
        places.add(place);
        let broken: unknown;
        const source = tap(member.wal.read(copy, { signal }), progress, (error) => (broken = error));
        try {
          await writeWhole(place, source);
        } catch (error) {
          if (error === broken) throw error;
          return { fault: error }; // no other repository heals a disk that takes nothing
        }
        return { place };
      },
      options,
    );
    try {
      if ('fault' in fetched) throw fetched.fault;
      await rename(fetched.place, path);
    } finally {
      for (const place of places) await rm(place, { force: true });
    }
  }

  async timelines(options: CallOptions = {}): Promise<readonly number[]> {
    const found = await allAnswers(this.#members, (member) => member.wal.timelines(options), options);
    return [...new Set(found.flatMap(({ value }) => value))].sort((one, other) => one - other);
  }

  async *segments(
    timeline: number,
    options: CallOptions & { readonly from?: bigint; readonly segmentSize: number },
  ): AsyncGenerator<WalObject> {
    const lists = new Map(this.#members.map((member) => [member, member.wal.segments(timeline, options)]));
    const advance = async (member: Member): Promise<WalObject | undefined> => {
      const next = await lists.get(member)?.next();
      return next === undefined || next.done === true ? undefined : next.value;
    };
    try {
      const heads = new Map(
        (await allAnswers(this.#members, advance, options)).map(({ member, value }) => [member, value]),
      );
      for (;;) {
        const names = [...heads.values()].flatMap((head) => (head === undefined ? [] : [head.file.name]));
        if (names.length === 0) return;
        const name = names.reduce((least, other) => (other < least ? other : least));
        const copies: [Member, WalObject][] = [];
        for (const [member, head] of heads) {
          for (let object = head; object?.file.name === name; heads.set(member, object)) {
            copies.push([member, object]);
            object = await this.#from(member, () => advance(member), options);
          }
        }
        const object = marked(copies);
        if (object !== undefined) yield object;
      }
    } finally {
      await Promise.allSettled([...lists.values()].map((list) => list.return(undefined)));
    }
  }

  async last(timeline: number, options: CallOptions = {}): Promise<WalObject | undefined> {
    const found = (await allAnswers(this.#members, (member) => member.wal.last(timeline, options), options)).flatMap(
      ({ member, value }): [Member, WalObject][] => (value === undefined ? [] : [[member, value]]),
    );
    const highest = found.reduce((best, [, { file }]) => (file.name > best ? file.name : best), '');
    return shared(found.filter(([, { file }]) => file.name === highest));
  }

  async behind(name: string, options: CallOptions = {}): Promise<string | undefined> {
    const found = await allAnswers(this.#members, (member) => member.wal.behind(name, options), options);
    return found.flatMap(({ value }) => value ?? []).sort()[0];
  }

  async history(timeline: number, options: CallOptions = {}): ReturnType<WalReader['history']> {
    const object = await this.find(historyName(timeline), options);
    return object && { object, content: await collect(this.read(object, options), object.key) };
  }

  async tail(name: string, options: CallOptions = {}): Promise<Uint8Array | undefined> {
    const slices = (await allAnswers(this.#members, (member) => member.wal.slices(name, options), options)).flatMap(
      ({ member, value }) => value.map((slice): SharedSlice => ({ ...slice, member })),
    );
    for (const { from, to, digest } of slices) {
      const other = slices.find((slice) => slice.from === from && slice.to === to && slice.digest !== digest);
      if (other === undefined) continue;
      throw new ArchiveError(
        'WAL_CONFLICT',
        `bytes ${from} to ${to} of ${name} are archived with digests ${digest} and ${other.digest}`,
      );
    }
    return joinSlices(slices, async (slice) => {
      try {
        return await this.#from(slice.member, () => slice.member.wal.readSlice(slice, options), options);
      } catch (error) {
        if (isArchiveError(error) && !isArchiveError(error, 'ABORTED'))
          this.#failed({ repository: slice.member.name, error });
        throw error;
      }
    });
  }

  /** Lets `use` work on a copy of the file, in the order of the repositories, those that are known to have it first. */
  async #copy<Value>(
    object: WalObject,
    use: (member: Member, copy: WalObject, attempt: Attempt) => Promise<Value>,
    options: CallOptions,
  ): Promise<Value> {
    const { copies } = object as SharedObject;
    const { file, digest } = object;
    const known = this.#members.filter((member) => copies.has(member));
    const value = await this.#first(
      [...known, ...this.#members.filter((member) => !copies.has(member))],
      async (member, attempt) => {
        const copy = copies.get(member) ?? (await member.wal.find(file.name, { signal: attempt.signal }));
        if (copy === undefined) return undefined;
        const [holder] = copies.keys();
        if (copy.digest !== digest) throw conflict([holder ?? member, object], [member, copy]);
        return use(member, copy, attempt);
      },
      options,
    );
    if (value !== undefined) return value;
    throw new ArchiveError('STORAGE_NOT_FOUND', `${file.name} is in none of the repositories any more`);
  }

  #first<Value>(
    members: readonly Member[],
    ask: (member: Member, attempt: Attempt) => Promise<Value | undefined>,
    { signal }: CallOptions,
  ): Promise<Value | undefined> {
    return firstAnswer(members, ask, {
      ...this.#options,
      onFailure: (failure) => this.#failed(failure),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  #failed(failure: RepositoryFailure): void {
    if (!isObjectFault(failure.error)) {
      const failed = this.#members.filter(({ name }) => name === failure.repository);
      this.#members = [...this.#members.filter((member) => !failed.includes(member)), ...failed];
    }
    this.#options.onFailure?.(failure);
  }

  async #from<Value>(member: Member, work: () => Promise<Value>, { signal }: CallOptions): Promise<Value> {
    try {
      return await work();
    } catch (error) {
      throwIfAborted(signal, READING);
      throw failureOf([repositoryFailure(member.name, error)]);
    }
  }
}

type Copies = readonly (readonly [Member, WalObject])[];

/** Copies of one file as one; undefined without any. Errors: `WAL_CONFLICT`. */
function shared(copies: Copies): SharedObject | undefined {
  const object = marked(copies);
  if (object?.conflict !== undefined) throw object.conflict;
  return object;
}

/** The same, with the conflict in it: what lies before it in a listing is as good as ever. */
function marked(copies: Copies): SharedObject | undefined {
  const [first] = copies;
  if (first === undefined) return undefined;
  const [, object] = first;
  const other = copies.find(([, { digest }]) => digest !== object.digest);
  // Of two in one repository, which differ in their codecs, the first.
  const found = { ...object, copies: new Map(copies.toReversed()) };
  return other === undefined ? found : { ...found, conflict: conflict(first, other) };
}

/** Two contents of one name. */
function conflict(
  [member, { file, digest }]: readonly [Member, WalObject],
  [other, { digest: given }]: readonly [Member, WalObject],
): ArchiveError {
  if (member === other) return walConflict(file, digest, given);
  return new ArchiveError(
    'WAL_CONFLICT',
    `repository ${member.name} holds ${file.name} with digest ${digest}, repository ${other.name} with ${given}`,
    {
      hint: 'Two servers have archived under this name: find out which repository is right, and read from it alone with --repository.',
      details: { file: file.name, held: digest, given },
    },
  );
}

/** Hands a stream on, and tells of each chunk and of its failure. */
async function* tap(
  source: AsyncIterable<Uint8Array>,
  progress: () => void,
  failed: (error: unknown) => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of source) {
      progress();
      yield chunk;
    }
  } catch (error) {
    failed(error);
    throw error;
  }
}
