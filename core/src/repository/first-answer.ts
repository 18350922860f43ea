/** Asking several repositories for one thing that each of them may have. */
import { ArchiveError, throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { READING } from './all-answers.ts';
import { failureOf, repositoryFailure, type RepositoryFailure } from './repository-failure.ts';

export interface AskOptions extends CallOptions {
  /** Milliseconds without a sign from those that are asked, after which the next one is asked beside them. Default 2000. */
  readonly patience?: number;
  /** Told of those that failed, or had not answered yet, when another one had the answer. */
  readonly onFailure?: (failure: RepositoryFailure) => void;
}

/** What an attempt gets: its signal fires when another one had the answer; `progress` says that it is still under way. */
export interface Attempt {
  readonly signal: AbortSignal;
  readonly progress: () => void;
}

const PATIENCE = 2000;
/** Milliseconds for those that are no longer needed to clean up. */
const CLEAN_UP = 1000;

type Outcome<Member, Value> = { readonly member: Member } & (
  | { readonly kind: 'answer'; readonly value: Value | undefined }
  | { readonly kind: 'failure'; readonly failure: RepositoryFailure }
);

/**
 * Asks in order; the next one when the one before has nothing, fails, or gives no sign for a while. The first answer is taken, the others
 * are cancelled. Undefined only when every one answered that it has nothing.
 *
 * Errors: when none has it and some could not be asked, theirs, as {@link failureOf} puts them together; `ABORTED`.
 */
export async function firstAnswer<Member extends { readonly name: string }, Value>(
  members: readonly Member[],
  ask: (member: Member, attempt: Attempt) => Promise<Value | undefined>,
  options: AskOptions = {},
): Promise<Value | undefined> {
  const { signal, patience = PATIENCE } = options;
  throwIfAborted(signal, READING);
  const cancel = new AbortController();
  const either = signal === undefined ? cancel.signal : AbortSignal.any([signal, cancel.signal]);
  const waiting = [...members];
  const running = new Map<Member, Promise<Outcome<Member, Value>>>();
  const failures: RepositoryFailure[] = [];
  const silent = new Set<Member>();
  const clock = new Patience(patience);
  const start = (member: Member): void => {
    clock.progress();
    const progress = (): void => {
      silent.delete(member);
      clock.progress();
    };
    running.set(
      member,
      attempt(member, () => ask(member, { signal: either, progress })),
    );
  };
  try {
    for (;;) {
      const next = running.size === 0 ? waiting.shift() : undefined;
      if (next !== undefined) start(next);
      if (running.size === 0) break;
      const outcome = await Promise.race([...running.values(), ...(waiting.length === 0 ? [] : [clock.over()])]);
      if (outcome === 'over') {
        for (const member of running.keys()) silent.add(member);
        const beside = waiting.shift();
        if (beside !== undefined) start(beside);
        continue;
      }
      running.delete(outcome.member);
      silent.delete(outcome.member);
      if (outcome.kind === 'failure') {
        throwIfAborted(signal, READING);
        failures.push(outcome.failure);
      } else if (outcome.value !== undefined) {
        for (const failure of failures) options.onFailure?.(failure);
        for (const member of silent) options.onFailure?.(silence(member, patience));
        return outcome.value;
      }
    }
  } finally {
    clock.stop();
    cancel.abort();
    await settled([...running.values()], CLEAN_UP);
  }
  const [first, ...more] = failures;
  if (first !== undefined) throw failureOf([first, ...more]);
  return undefined;
}

/** Never rejects. */
async function attempt<Member extends { readonly name: string }, Value>(
  member: Member,
  ask: () => Promise<Value | undefined>,
): Promise<Outcome<Member, Value>> {
  try {
    return { member, kind: 'answer', value: await ask() };
  } catch (error) {
    return { member, kind: 'failure', failure: repositoryFailure(member.name, error) };
  }
}

function silence({ name }: { readonly name: string }, patience: number): RepositoryFailure {
  const text = `repository ${name} gave no sign for ${patience / 1000} s`;
  return { repository: name, error: new ArchiveError('STORAGE_UNAVAILABLE', text) };
}

/** Waits for the end of all, but not longer than a time in milliseconds. */
async function settled(work: readonly Promise<unknown>[], milliseconds: number): Promise<void> {
  if (work.length === 0) return;
  let timer: NodeJS.Timeout | undefined;
  const end = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)));
  await Promise.race([Promise.all(work), end]);
  clearTimeout(timer);
}

/** A time that begins anew with every progress. */
class Patience {
  readonly #milliseconds: number;
  #timer: NodeJS.Timeout | undefined;
  #end: (() => void) | undefined;
  #stopped = false;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  /** Resolves when the time is over. */
  over(): Promise<'over'> {
    return new Promise((resolve) => {
      this.#end = (): void => resolve('over');
      this.progress();
    });
  }

  progress(): void {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => this.#end?.(), this.#milliseconds);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
