import type { ArchiveError } from '../contracts/errors.ts';
import type { Repository } from '../repository/repository.ts';
import { within } from './backoff.ts';
import { asArchiveError } from './messages.ts';
import type { Outlet } from './outlet.ts';

export interface AskOptions {
  readonly subject: string;
  readonly signal: AbortSignal;
  /** Milliseconds that the others get once one has answered. Default 10 000. */
  readonly grace?: number;
}

export interface Answers<Value> {
  readonly answers: ReadonlyMap<Outlet, Value>;
  /** Those that did not answer, and why; undefined for one that says nothing. */
  readonly silent: ReadonlyMap<Outlet, ArchiveError | undefined>;
}

/**
 * Asks every repository. Until one answers all are tried for ever; from then on each of the others has one try, which may begin
 * at once, and a bounded time, so that a repository that is down holds nothing up while another one works.
 *
 * Throws when none answered: `ABORTED`, or after the outlets were finished what the last try failed with.
 */
export async function askOutlets<Value>(
  outlets: readonly Outlet[],
  operation: (repository: Repository, signal: AbortSignal) => Promise<Value>,
  options: AskOptions,
): Promise<Answers<Value>> {
  const { subject, grace = 10_000 } = options;
  const enough = new AbortController();
  const end = new AbortController();
  const signal = AbortSignal.any([options.signal, end.signal]);
  const answers = new Map<Outlet, Value>();
  const silent = new Map<Outlet, ArchiveError | undefined>();
  const asked = outlets.map(async (outlet) => {
    try {
      const value = await outlet.run(operation, { subject, signal, last: enough.signal });
      if (end.signal.aborted) return;
      answers.set(outlet, value);
      enough.abort();
    } catch (error) {
      if (!end.signal.aborted) silent.set(outlet, asArchiveError(error));
    }
  });
  const all = Promise.all(asked).then(() => undefined);
  await Promise.race([all, fired(enough.signal)]);
  await within(grace, all);
  end.abort();
  for (const outlet of outlets) if (!answers.has(outlet) && !silent.has(outlet)) silent.set(outlet, undefined);
  const [failure] = silent.values();
  if (answers.size === 0 && failure !== undefined) throw failure;
  return { answers, silent };
}

function fired(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        { once: true },
      );
  });
}
