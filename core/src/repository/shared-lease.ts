import { throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { holdLease, type HeldLease } from './held-lease.ts';
import type { LeaseScope } from './lease.ts';
import { repositoryFailure } from './repository-failure.ts';
import type { Repository } from './repository.ts';

/** Milliseconds for which a lease is waited for: it protects the work, and must not hold it up. */
const PATIENCE = 15_000;

export interface SharedLeaseOptions extends CallOptions {
  /** What runs: `restore`. */
  readonly command: string;
  /** Told where no lease could be written, as with credentials that may only read: the work goes on. */
  readonly onWarning: (warning: string) => void;
}

interface Member {
  readonly repository: Repository;
  readonly systemId: string;
  readonly lease: HeldLease;
}

/** What one piece of work uses in several repositories. A lease that cannot be had is a warning. */
export class SharedLease {
  readonly #options: SharedLeaseOptions;
  readonly #members: Member[] = [];

  constructor(options: SharedLeaseOptions) {
    this.#options = options;
  }

  /** Takes it in these repositories, all at once, for the systems that each has. */
  async take(repositories: readonly Repository[], scope: LeaseScope): Promise<void> {
    await Promise.all(
      repositories.map((repository) =>
        this.#attempt(repository, async (call) => {
          for (const systemId of await repository.systemIds(call)) await this.#hold(repository, systemId, scope, call);
        }),
      ),
    );
  }

  /** Takes it in one repository for one system; gives the clock of the storage, epoch milliseconds, if it could. */
  async takeOne(repository: Repository, systemId: string, scope: LeaseScope): Promise<number | undefined> {
    return this.#attempt(repository, (call) => this.#hold(repository, systemId, scope, call));
  }

  /** From now on it holds only this of the system, and nothing of the others. */
  async narrow(systemId: string, scope: LeaseScope): Promise<void> {
    for (const other of this.#members.filter((member) => member.systemId !== systemId)) await this.#drop(other);
    await Promise.all(
      this.#members.map(({ repository, lease }) => this.#attempt(repository, (call) => lease.change(scope, call))),
    );
  }

  async release(): Promise<void> {
    await Promise.all([...this.#members].map((member) => this.#drop(member)));
  }

  async #hold(repository: Repository, systemId: string, scope: LeaseScope, call: CallOptions): Promise<number> {
    const { command, onWarning } = this.#options;
    const lease = await holdLease(repository, systemId, {
      ...call,
      command,
      scope,
      onFailure: (error) => onWarning(this.#text(repository, error)),
    });
    this.#members.push({ repository, systemId, lease });
    return lease.storageTime;
  }

  async #drop(member: Member): Promise<void> {
    this.#members.splice(this.#members.indexOf(member), 1);
    await member.lease.release();
  }

  async #attempt<Value>(
    repository: Repository,
    work: (call: CallOptions) => Promise<Value>,
  ): Promise<Value | undefined> {
    const { signal, command } = this.#options;
    const patience = AbortSignal.timeout(PATIENCE);
    try {
      return await work({ signal: signal === undefined ? patience : AbortSignal.any([signal, patience]) });
    } catch (error) {
      throwIfAborted(signal, `the ${command}`);
      this.#options.onWarning(this.#text(repository, error));
      return undefined;
    }
  }

  #text({ name }: Repository, error: unknown): string {
    const reason = repositoryFailure(name, error).error.message;
    return `repository ${name} could not be told that this ${this.#options.command} uses it: do not run "pgark expire" there meanwhile (${reason})`;
  }
}
