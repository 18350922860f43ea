import type { PutOptions, PutStep } from 'pgark/contracts';

/**
 * Runs a step of a `put` as the stack wants it (STOR-18), or once when the caller gave no `attempt`.
 *
 * `call` gets the signal to give to its request, and `moved`, to be called whenever the storage has taken some of the bytes; see
 * `Attempt` for what it may and must not do.
 */
export async function putStep<Value>(
  options: Pick<PutOptions, 'attempt'>,
  step: PutStep,
  call: (signal: AbortSignal, moved: () => void) => Promise<Value>,
): Promise<Value> {
  const attempt = options.attempt ?? ((_, once) => once(step.signal ?? new AbortController().signal));
  return attempt(step, (signal, moved = () => undefined) => call(signal, moved));
}
