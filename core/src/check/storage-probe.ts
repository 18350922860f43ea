/** What a storage really does, tried with small objects under a name of their own: what a provider says is not evidence. */
import { randomBytes } from 'node:crypto';
import { isArchiveError, type ArchiveError } from '../contracts/errors.ts';
import type { CallOptions, Storage } from '../contracts/storage.ts';
import { NO_LOCK } from '../storage/lock.ts';
import type { Finding } from './finding.ts';
import { tryLock, type LockProbeOptions } from './lock-probe.ts';

export interface ProbeOptions extends LockProbeOptions {
  /** The repository's name. */
  readonly name: string;
  /** Folder of the probe's objects, with a final slash: a policy that allows the archive allows it too. */
  readonly prefix: string;
  /** Whether the repository is only to be read. */
  readonly readOnly?: boolean;
  /** Racing writers; default 8. */
  readonly writers?: number;
  /** Milliseconds for which the probe of the retention lock is locked; default 60 s. */
  readonly lockFor?: number;
  readonly now?: () => number;
}

/** Requests are signed with the time: clouds refuse a clock that is 15 minutes off, and this much is a sign of no NTP. */
const MOST_SKEW = 60_000;

type Outcome = Omit<Finding, 'subject' | 'check'>;

/**
 * Tries a storage and tells of each step when it is done. Never throws but for an abort: a step that fails is a finding,
 * and steps that need it are left out.
 */
export async function* probeStorage(storage: Storage, options: ProbeOptions): AsyncGenerator<Finding, void, undefined> {
  const probe = new Probe(storage, options);
  const steps: readonly (readonly [check: string, step: () => Promise<Outcome>])[] =
    options.readOnly === true
      ? [['list', () => probe.listable()]]
      : [
          ['write', () => probe.write()],
          ['read back', () => probe.readBack()],
          ['list', () => probe.list()],
          ['write once', () => probe.writeOnce()],
          ['race', () => probe.race()],
          ['retention lock', () => probe.lock()],
          ['clock', () => probe.clock()],
          ['remove', () => probe.remove()],
        ];
  for (const [check, step] of steps) {
    let outcome: Outcome;
    try {
      outcome = await step();
    } catch (error) {
      if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
      outcome = failure(error);
    }
    yield { subject: `repository ${options.name}`, check, ...outcome };
    // Without a first object nothing else says anything.
    if (outcome.state === 'failed' && check === 'write') return;
  }
}

function failure(error: ArchiveError): Outcome {
  return { state: 'failed', message: `${error.code}: ${error.message}`, hint: error.hint };
}

class Probe {
  readonly #storage: Storage;
  readonly #options: ProbeOptions;
  readonly #call: CallOptions;
  readonly #folder: string;
  readonly #content = randomBytes(4096);
  /** Objects that were made, in order. */
  readonly #made: string[] = [];
  #locked: string | undefined;

  constructor(storage: Storage, options: ProbeOptions) {
    this.#storage = storage;
    this.#options = options;
    this.#call = options.signal === undefined ? {} : { signal: options.signal };
    this.#folder = `${options.prefix}${randomBytes(8).toString('hex')}/`;
  }

  async write(): Promise<Outcome> {
    await this.#put('probe', this.#content);
    return { state: 'ok', message: `stored ${this.#folder}probe` };
  }

  async readBack(): Promise<Outcome> {
    const key = `${this.#folder}probe`;
    const { size } = await this.#storage.stat(key, this.#call);
    const whole = await this.#read(key);
    const part = await this.#read(key, { start: 100, end: 200 });
    const same = size === this.#content.byteLength && whole.equals(this.#content);
    if (same && part.equals(this.#content.subarray(100, 200)))
      return { state: 'ok', message: 'the bytes are those stored, the whole object and a range' };
    return {
      state: 'failed',
      message: `read ${whole.byteLength} bytes and a range of ${part.byteLength} that are not those stored (${size} bytes by its size)`,
      hint: 'Something between here and the storage alters bytes: a proxy, or a client that decompresses.',
    };
  }

  async list(): Promise<Outcome> {
    const keys: string[] = [];
    for await (const { key } of this.#storage.list(this.#folder, this.#call)) keys.push(key);
    if (keys.length === 1 && keys[0] === `${this.#folder}probe`)
      return { state: 'ok', message: 'the listing shows the object' };
    return {
      state: 'failed',
      message: `the listing shows ${keys.length === 0 ? 'nothing' : keys.join(', ')} instead of the object`,
      hint: 'The state of an archive is what a listing says: this storage cannot hold one.',
    };
  }

  /** For a repository that is only read: the first keys may be asked for. */
  async listable(): Promise<Outcome> {
    const cluster = this.#options.prefix.slice(0, this.#options.prefix.indexOf('/') + 1);
    let found = false;
    for await (const _ of this.#storage.list(cluster, this.#call)) {
      found = true;
      break;
    }
    return { state: 'ok', message: found ? `lists ${cluster}` : `lists ${cluster}, which is empty` };
  }

  async writeOnce(): Promise<Outcome> {
    const key = `${this.#folder}probe`;
    let refused: ArchiveError | undefined;
    try {
      await this.#storage.put(key, bodyOf(Buffer.from('another')), {
        ifAbsent: true,
        ...NO_LOCK,
        ...this.#call,
      });
    } catch (error) {
      if (!isArchiveError(error) || error.code === 'ABORTED') throw error;
      refused = error;
    }
    const kept = (await this.#read(key)).equals(this.#content);
    if (refused?.code === 'STORAGE_EXISTS' && kept)
      return { state: 'ok', message: 'a second object of the same name is refused' };
    const hint = 'Let the storage keep versions or lock objects, or use one that has conditional writes.';
    if (refused !== undefined) {
      const fate = kept ? 'the first object is unharmed' : 'and the first object is gone';
      return {
        state: 'failed',
        message: `refused with ${refused.code} instead of STORAGE_EXISTS, ${fate}: ${refused.message}`,
        hint,
      };
    }
    const fate = kept ? 'and thrown away' : 'and replaced the first';
    return {
      state: this.#storage.capabilities.conditionalPut || !kept ? 'failed' : 'warning',
      message: `a second object of the same name was taken ${fate}: the condition is ignored`,
      hint,
    };
  }

  async race(): Promise<Outcome> {
    const writers = this.#options.writers ?? 8;
    const key = `${this.#folder}race`;
    const contents = Array.from({ length: writers }, (_, at) => Buffer.from(`writer ${at}`));
    this.#made.push(key);
    const results = await Promise.allSettled(
      contents.map((content) => this.#storage.put(key, bodyOf(content), { ifAbsent: true, ...NO_LOCK, ...this.#call })),
    );
    const winners = results.flatMap(({ status }, at) => (status === 'fulfilled' ? [at] : []));
    const strange = results.find(
      (result): result is PromiseRejectedResult =>
        result.status === 'rejected' && !isArchiveError(result.reason, 'STORAGE_EXISTS'),
    );
    if (strange !== undefined) throw strange.reason;
    const held = await this.#read(key);
    const [winner = -1] = winners;
    if (winners.length === 1 && contents[winner]?.equals(held) === true)
      return { state: 'ok', message: `one of ${writers} writers at once has won, and the object is its own` };
    const promised = this.#storage.capabilities.conditionalPut;
    return {
      state: promised ? 'failed' : 'warning',
      message: `${winners.length} of ${writers} writers at once were told that they have stored the object`,
      hint: promised
        ? 'Set the provider, or the option for conditional writes of the storage: it does not do what it declares.'
        : 'Two servers that share this archive by mistake are not always noticed: never point two at it.',
    };
  }

  async lock(): Promise<Outcome> {
    if (!this.#storage.capabilities.retention)
      return { state: 'skipped', message: 'no lock is configured: who may delete can delete the archive' };
    const key = `${this.#folder}locked`;
    const retainUntil = new Date(this.#now() + (this.#options.lockFor ?? 60_000));
    await this.#storage.put(key, bodyOf(this.#content), { ifAbsent: true, retainUntil, ...this.#call });
    this.#locked = key;
    const { message, ...outcome } = await tryLock(this.#storage, key, this.#content, this.#options);
    return { ...outcome, message: `${message}; ${key} stays until ${retainUntil.toISOString()}` };
  }

  async clock(): Promise<Outcome> {
    const before = this.#now();
    const key = `${this.#folder}clock`;
    await this.#put('clock', Buffer.from('now'));
    const { modified } = await this.#storage.stat(key, this.#call);
    const after = this.#now();
    // Some storages have whole seconds only.
    const skew = modified < before - 1000 ? modified - before : modified > after ? modified - after : 0;
    if (Math.abs(skew) <= MOST_SKEW) return { state: 'ok', message: 'the clocks agree' };
    const seconds = Math.round(Math.abs(skew) / 1000);
    return {
      state: 'warning',
      message: `the clock of the storage is ${seconds} s ${skew > 0 ? 'ahead of' : 'behind'} this one`,
      hint: 'Run NTP on both: requests are signed with the time, and locks end by it.',
    };
  }

  async remove(): Promise<Outcome> {
    const keys = this.#made.filter((key) => key !== this.#locked);
    let kept: ReadonlySet<string>;
    try {
      kept = new Set((await this.#storage.remove(keys, this.#call)).retained);
    } catch (error) {
      if (!isArchiveError(error, 'STORAGE_DENIED')) throw error;
      return {
        state: 'ok',
        message: `these credentials may not delete, as is best for a writer; ${this.#folder} stays`,
      };
    }
    const left: string[] = [];
    for await (const { key } of this.#storage.list(this.#folder, this.#call))
      if (key !== this.#locked && !kept.has(key)) left.push(key);
    if (left.length === 0 && kept.size > 0)
      return {
        state: 'ok',
        message: `the storage locks every object by itself: those of the probe stay in ${this.#folder}`,
      };
    if (left.length === 0) return { state: 'ok', message: 'the objects of the probe are gone' };
    return { state: 'failed', message: `still there after they were deleted: ${left.join(', ')}` };
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  async #put(name: string, bytes: Uint8Array): Promise<void> {
    const key = `${this.#folder}${name}`;
    this.#made.push(key);
    const size = bytes.byteLength;
    await this.#storage.put(key, bodyOf(bytes), { ifAbsent: true, size, ...NO_LOCK, ...this.#call });
  }

  async #read(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#storage.get(key, { ...this.#call, ...(range === undefined ? {} : { range }) }))
      chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }
}

/** A body that can be read again, so that the stack may try again. */
function bodyOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator]() {
      yield bytes;
    },
  };
}
