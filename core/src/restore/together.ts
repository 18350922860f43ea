import type { CallOptions } from '../contracts/storage.ts';

type Call = CallOptions & { readonly signal: AbortSignal };

/** Does two things at once. The first that fails ends the other one, which is waited for; its error is told. */
export async function together<Result>(
  work: (call: Call) => Promise<Result>,
  beside: (call: Call) => Promise<void>,
  options: CallOptions,
): Promise<Result> {
  const failed = new AbortController();
  const signal = options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal]);
  let failure: { readonly error: unknown } | undefined;
  const orEnd = async <Value>(doing: Promise<Value>): Promise<Value | undefined> => {
    try {
      return await doing;
    } catch (error) {
      failure ??= { error };
      failed.abort();
      return undefined;
    }
  };
  const [result] = await Promise.all([orEnd(work({ signal })), orEnd(beside({ signal }))]);
  if (failure !== undefined) throw failure.error;
  return result as Result;
}
