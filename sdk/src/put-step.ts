import type { PutOptions, PutStep } from 'pgark/contracts';

/**
 * Runs a step of a `put` as the stack wants it (STOR-18), or once when the caller gave no `attempt`.
 *
 * `call` gets the signal to give to its request; see `Attempt` for what it may and must not do.
 */
export async function putStep<Value>(
  options: Pick<PutOptions, 'attempt'>,
  step: PutStep,
  call: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const attempt = options.attempt ?? ((_, once) => once(step.signal ?? new AbortController().signal));
  return attempt(step, call);
}
