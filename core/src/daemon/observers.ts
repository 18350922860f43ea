/** Those who are told what happens in the daemon. */
import { errorOf } from '../archive/telling.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { DaemonObserver } from './daemon.ts';

type Told = { readonly [Name in keyof DaemonObserver]-?: Parameters<NonNullable<DaemonObserver[Name]>> };

export class Observers {
  readonly #all = new Set<DaemonObserver>();
  readonly #logger: Logger;
  /** Whose failures the log has. */
  readonly #failed = new WeakSet<DaemonObserver>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add(observer: DaemonObserver): () => void {
    this.#all.add(observer);
    return () => void this.#all.delete(observer);
  }

  /** What an observer throws must not reach who reports: it may be the receiver. */
  tell<Name extends keyof Told>(name: Name, ...told: Told[Name]): void {
    for (const observer of this.#all) {
      try {
        (observer[name] as ((...args: Told[Name]) => void) | undefined)?.call(observer, ...told);
      } catch (error) {
        if (this.#failed.has(observer)) continue;
        this.#failed.add(observer);
        this.#logger.error({ error: errorOf(error) }, `a fault of pgark: an observer of ${name} has failed`);
      }
    }
  }
}
