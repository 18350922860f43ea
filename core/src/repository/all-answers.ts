/** Asking each of several repositories. */
import { throwIfAborted } from '../contracts/errors.ts';
import type { CallOptions } from '../contracts/storage.ts';
import { failureOf, repositoryFailure, type RepositoryFailure } from './repository-failure.ts';

export interface Answer<Member, Value> {
  readonly member: Member;
  readonly value: Value;
}

/** What came of it, both in the order of the repositories. */
export interface Answers<Member, Value> {
  readonly answers: readonly Answer<Member, Value>[];
  readonly failures: readonly RepositoryFailure[];
}

/** What is cancelled, for `ABORTED`. */
export const READING = 'reading from several repositories';

/** Asks all at once; those that fail do not hold up the others. Errors: `ABORTED`. */
export async function answersOf<Member extends { readonly name: string }, Value>(
  members: readonly Member[],
  ask: (member: Member) => Promise<Value>,
  { signal }: CallOptions = {},
): Promise<Answers<Member, Value>> {
  const asked = await Promise.all(
    members.map(async (member) => {
      try {
        return { member, value: await ask(member) };
      } catch (error) {
        return { failure: repositoryFailure(member.name, error) };
      }
    }),
  );
  throwIfAborted(signal, READING);
  return {
    answers: asked.flatMap((answer) => ('failure' in answer ? [] : [answer])),
    failures: asked.flatMap((answer) => ('failure' in answer ? [answer.failure] : [])),
  };
}

/** Asks all at once, and each must answer. Errors: those of all that failed, as {@link failureOf} puts them together; `ABORTED`. */
export async function allAnswers<Member extends { readonly name: string }, Value>(
  members: readonly Member[],
  ask: (member: Member) => Promise<Value>,
  options: CallOptions = {},
): Promise<readonly Answer<Member, Value>[]> {
  const { answers, failures } = await answersOf(members, ask, options);
  const [first, ...more] = failures;
  if (first !== undefined) throw failureOf([first, ...more]);
  return answers;
}
