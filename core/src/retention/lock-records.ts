/** What is on record of the locks of objects, so that not every object has to be asked every time. */
import { isArchiveError } from '../contracts/errors.ts';
import type { CallOptions, ObjectInfo } from '../contracts/storage.ts';
import type { Fact, Facts } from '../repository/facts.ts';

const SUBJECT = 'locks';
const KIND = 'extended';
/** Milliseconds that a record may seem to come from the future: clocks differ. */
const SKEW = 3_600_000;

/** Objects that followed each other in a listing, with locks that end at the same time or later. */
interface Stretch {
  readonly first: string;
  readonly last: string;
  /** The newest of them by the clock of the storage, epoch milliseconds: what lies between and came later was not among them. */
  readonly newest: number;
  /** Epoch milliseconds. */
  readonly until: number;
}

/** What earlier runs have found and done. */
export class LockRecords {
  readonly #stretches: readonly Stretch[];

  constructor(stretches: readonly Stretch[]) {
    this.#stretches = stretches.toSorted((one, other) =>
      one.first < other.first ? -1 : Number(one.first > other.first),
    );
  }

  /**
   * Reads the records that can still say something of a lock of this length. None is believed for longer than such a lock would last from
   * when it was made: whoever may add objects could write one. Errors: `REPOSITORY_FORMAT`, those of the storage.
   */
  static async read(
    facts: Facts,
    { lock, now, ...call }: CallOptions & { readonly lock: number; readonly now: number },
  ): Promise<LockRecords> {
    const stretches: Stretch[] = [];
    for (const { kind, time, data } of await facts.list(SUBJECT, { ...call, since: now - lock })) {
      if (kind !== KIND || time > now + SKEW || !Array.isArray(data['stretches'])) continue;
      for (const stretch of data['stretches'] as readonly (Record<string, unknown> | null)[]) {
        const { first, last, newest, until } = stretch ?? {};
        if (typeof first !== 'string' || typeof last !== 'string') continue;
        const end = Math.min(Date.parse(String(until)), time + lock);
        stretches.push({ first, last, newest: Date.parse(String(newest)), until: end });
      }
    }
    return new LockRecords(stretches);
  }

  /**
   * Tells when the lock of an object ends at the earliest, epoch milliseconds; 0 when nothing is on record. For the objects of one listing,
   * which come in the order of their keys: years of records cost no more than those that speak of a key.
   */
  inOrder(): (info: ObjectInfo) => number {
    let next = 0;
    let around: Stretch[] = [];
    return ({ key, modified }) => {
      let stretch = this.#stretches[next];
      for (; stretch !== undefined && stretch.first <= key; stretch = this.#stretches[++next]) around.push(stretch);
      if (around.some(({ last }) => last < key)) around = around.filter(({ last }) => last >= key);
      return around.reduce((end, { newest, until }) => (modified <= newest && until > end ? until : end), 0);
    };
  }
}

/** Gathers what is to be put on record. */
export class Stretches {
  readonly #tolerance: number;
  #stretches: Stretch[] = [];
  /** Whether the last stretch ends with the object before. */
  #isOpen = false;

  /** Ends that differ by no more than `tolerance` milliseconds are taken as one, the first of them. */
  constructor(tolerance: number) {
    this.#tolerance = tolerance;
  }

  /** Adds the next object; `follows` says whether it comes next in the listing too. Without an `end` nothing is known of it. */
  add({ key, modified }: ObjectInfo, end: number | undefined, { follows }: { readonly follows: boolean }): void {
    const open = follows && this.#isOpen ? this.#stretches.at(-1) : undefined;
    this.#isOpen = end !== undefined;
    if (end === undefined) return;
    if (open !== undefined && Math.abs(open.until - end) <= this.#tolerance) {
      const until = Math.min(open.until, end);
      this.#stretches[this.#stretches.length - 1] = {
        first: open.first,
        last: key,
        newest: Math.max(open.newest, modified),
        until,
      };
    } else this.#stretches.push({ first: key, last: key, newest: modified, until: end });
  }

  /** Adds a fact of what was gathered, and begins anew. */
  async record(facts: Facts, time: number, call: CallOptions): Promise<void> {
    if (this.#stretches.length === 0) return;
    const stretches = this.#stretches.map(({ first, last, newest, until }) => {
      return { first, last, newest: new Date(newest).toISOString(), until: new Date(until).toISOString() };
    });
    await addBeside(facts, { kind: KIND, time, data: { stretches } }, call);
    this.#stretches = [];
    this.#isOpen = false;
  }
}

/** Two runs may end in one millisecond: the later one takes the next. */
async function addBeside(facts: Facts, fact: Fact, call: CallOptions): Promise<void> {
  try {
    await facts.add(SUBJECT, fact, call);
  } catch (error) {
    if (!isArchiveError(error, 'STORAGE_EXISTS')) throw error;
    await addBeside(facts, { ...fact, time: fact.time + 1 }, call);
  }
}
