/** Tells the configured hooks of events. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import { makeEvent } from '../contracts/event-table.ts';
import type { ArchiveEvent, ArchiveEvents, EventName, Hook } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import type { HookConfig } from '../config/config.ts';

export interface EventsOptions {
  readonly cluster: string;
  readonly hooks: readonly { readonly config: HookConfig; readonly hook: Hook }[];
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  /** Milliseconds before the first further try; doubled for each one after it. Default 500. */
  readonly backoff?: number;
}

export class Events {
  readonly #options: EventsOptions;

  constructor(options: EventsOptions) {
    this.#options = options;
  }

  /**
   * Delivers an event to every hook that asks for it, each with its own timeout and tries, and waits for them. A failed delivery is a
   * warning in the log; of a hook with the policy `fail` it is thrown, after all hooks were told.
   */
  async emit<Name extends EventName>(name: Name, data: ArchiveEvents[Name]): Promise<void> {
    const { cluster, hooks } = this.#options;
    const origin = { id: randomUUID(), time: Date.now(), cluster, host: hostname() };
    const event: ArchiveEvent<Name> = makeEvent(name, data, origin);
    const wanted = hooks.filter(({ config }) => config.events?.includes(name) ?? true);
    const failures = await Promise.all(wanted.map(({ config, hook }) => this.#deliver(event, config, hook)));
    const fatal = failures.find((failure) => failure !== undefined);
    if (fatal !== undefined) throw fatal;
  }

  /** Gives the error that the work must fail with. */
  async #deliver(event: ArchiveEvent, config: HookConfig, hook: Hook): Promise<ArchiveError | undefined> {
    const { logger, signal, backoff = 500 } = this.#options;
    const use = config.hook.use;
    let failure: unknown;
    for (let attempt = 0; attempt <= config.retries; attempt += 1) {
      if (attempt > 0)
        await sleep(backoff * 2 ** (attempt - 1), undefined, signal === undefined ? {} : { signal }).catch(
          () => undefined,
        );
      if (attempt > 0 && signal?.aborted) break;
      try {
        await withTimeout(config.timeout, (deadline) => hook.handle(event, { signal: deadline }));
        return undefined;
      } catch (error) {
        failure = error;
      }
    }
    const reason = failure instanceof Error ? failure.message : String(failure);
    logger.warn(
      { hook: use, event: event.name, error: failure },
      `hook ${use} was not told of ${event.name}: ${reason}`,
    );
    if (config.policy === 'warn') return undefined;
    return isArchiveError(failure)
      ? failure
      : new ArchiveError('HOOK_FAILED', `hook ${use} failed at ${event.name}: ${reason}`, { cause: failure });
  }

  async close(): Promise<void> {
    await Promise.all(this.#options.hooks.map(({ hook }) => hook.close()));
  }
}

/** A hook that ignores its signal must not hold up the work: the deadline holds whatever it does. */
async function withTimeout(milliseconds: number, call: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new ArchiveError('HOOK_FAILED', `no answer within ${milliseconds / 1000} s`);
      controller.abort(error);
      reject(error);
    }, milliseconds);
  });
  try {
    await Promise.race([call(controller.signal), deadline]);
  } finally {
    clearTimeout(timer);
  }
}
