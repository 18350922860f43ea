import type { ArchiveError } from '../contracts/errors.ts';
import type { EventSink } from '../contracts/hook.ts';
import type { Events } from '../plugins/events.ts';
import { repositoryFailure } from '../repository/repository-failure.ts';

/** Tells hooks what happens during a call, without holding it up, and knows which of them had to be told and were not. */
export class Telling {
  readonly sink: EventSink;
  readonly #told: Promise<void>[] = [];

  constructor(events: Pick<Events, 'emit'>, onEvent?: EventSink) {
    this.sink = (name, data) => {
      onEvent?.(name, data);
      const telling = events.emit(name, data);
      telling.catch(() => undefined); // it is given below, when the work has not failed by itself
      this.#told.push(telling);
    };
  }

  /** Waits until all are told; gives the failure of a hook with the policy `fail`. */
  async done(): Promise<ArchiveError | undefined> {
    const results = await Promise.allSettled(this.#told);
    const failed = results.find((result) => result.status === 'rejected');
    return failed === undefined ? undefined : errorOf(failed.reason);
  }
}

/** Any thrown value as an error of the table. */
export function errorOf(error: unknown): ArchiveError {
  return repositoryFailure('', error).error;
}
