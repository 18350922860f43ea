import { join } from 'node:path';
import type { HookConfig } from '../config/config.ts';
import { ArchiveError, isArchiveError } from '../contracts/errors.ts';
import type { ArchiveEvent, ArchiveEvents, EventName, Hook } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { Backoff, pause, within } from '../receive/backoff.ts';
import { makeShared } from '../receive/shared-file.ts';
import { SpoolLock } from '../receive/spool-lock.ts';
import { deliver } from './deliver.ts';
import { due, fold, isAtLeast, type Folded } from './fold.ts';
import { ToldConditions } from './told-conditions.ts';
import { WaitingEvents, type WaitingEvent } from './waiting-events.ts';

/** How long is waited, in milliseconds. */
export interface CourierPace {
  /** Between two tries of one event, doubled for each. */
  readonly retry: number;
  /** At most between two tries while the hook cannot be told. */
  readonly most: number;
  /** Between two looks at what other processes have left, and at what is told later. */
  readonly look: number;
  /** At the end of the process, for what still waits. */
  readonly end: number;
}

export const PACE: CourierPace = { retry: 500, most: 60_000, look: 15_000, end: 5000 };

/** One try to tell a hook of an event, when it is over. */
export interface HookDelivery {
  readonly hook: string;
  readonly event: EventName;
  /** The code of the error with which it failed, or the error as text. */
  readonly failed?: string;
}

export interface CourierOptions {
  readonly config: HookConfig;
  readonly hook: Hook;
  /** Where events wait that belong to this hook. Without it, they are lost with the process. */
  readonly folder: string | undefined;
  readonly logger: Logger;
  readonly pace: CourierPace;
  /** Makes an event about this hook itself. */
  readonly make: <Name extends 'hook.dropped'>(name: Name, data: ArchiveEvents[Name]) => ArchiveEvent;
  /** It must not throw. */
  readonly onDelivery?: (delivery: HookDelivery) => void;
}

/** Events that wait at most for one hook. */
const COUNT = 2000;
/** Milliseconds after which nobody wants to be told any more: three days. */
const TOO_OLD = 3 * 86_400_000;
/** Milliseconds between two tries to get the lock that another process has. */
const LOCKED = 100;
/** After which another process is trusted to tell what waits. */
const LOCKED_TRIES = 10;

/**
 * Tells one hook of events: which of them, in their order, each until it is told. Events wait in a folder, which the processes of one host
 * share: one of them tells, the others leave it to that one.
 */
export class Courier {
  readonly #options: CourierOptions;
  readonly #name: string;
  readonly #waiting: WaitingEvents;
  readonly #told: ToldConditions;
  readonly #end = new AbortController();
  /** Conditions that this process has to tell later. */
  readonly #pending = new Set<string>();
  #work: Promise<void> | undefined;
  #wake = new AbortController();
  /** Whether the last event could not be told. */
  #isFailing = false;
  #isLocked = false;
  #lockedTries = 0;
  /** Whether this process looks at what others leave. */
  #isLasting = false;

  constructor(options: CourierOptions) {
    this.#options = options;
    const { config, folder, logger } = options;
    this.#name = config.name;
    this.#told = new ToldConditions(folder === undefined ? undefined : join(folder, 'conditions'));
    this.#waiting = new WaitingEvents({
      folder,
      bytes: config.spool,
      count: COUNT,
      onUnkept: (error) =>
        logger.warn(
          { hook: this.#name, error },
          `events for hook ${this.#name} are kept in memory only: ${reasonOf(error)}`,
        ),
      onUnread: (error) =>
        logger.warn(
          { hook: this.#name, error },
          `an event for hook ${this.#name} cannot be read and is left to whoever can: ${reasonOf(error)}`,
        ),
    });
  }

  /** Also tells what earlier and other processes have left, from now on until the end. */
  start(): void {
    this.#isLasting = true;
    for (const key of this.#told.pending()) this.#pending.add(key);
    this.#go();
  }

  /** Whether the hook was told that a condition is open, and not that it is closed. */
  hasTold(key: string): boolean {
    return this.#told.get(key)?.told === 'open';
  }

  /** Takes an event. Never throws and never waits. */
  take(event: ArchiveEvent): void {
    const { quiet } = this.#options.config;
    const { condition } = event;
    const wanted = this.#wants(event);
    if (condition === undefined) {
      if (wanted) this.#keep(event);
      return;
    }
    const { key } = condition;
    this.#apply(key, fold(this.#told.get(key), event, { wanted, quiet }));
    // It looks again when it is due. Not from within the loop, which would wake itself for ever.
    if (this.#pending.has(key)) this.#go();
  }

  /** Tells of an event at once, with all tries, if the hook asks for it. Errors: those of the hook; `HOOK_FAILED` also when the signal fires, which the caller knows. */
  async tellNow(event: ArchiveEvent, signal?: AbortSignal): Promise<void> {
    if (!this.#wants(event)) return;
    // Somebody waits for it: the process must not end meanwhile because nothing else is left to do.
    await this.#try(event, { signal: signal ?? this.#end.signal, wait: pause });
    const { condition, time: since, severity } = event;
    if (condition?.state !== 'open') return;
    this.#told.set(condition.key, { key: condition.key, told: 'open', since, severity, folded: 0 });
  }

  /** Tells what can be told soon, and leaves the rest to the next process. */
  async close(): Promise<void> {
    const { hook, logger, pace } = this.#options;
    this.#tellDue(true);
    if (this.#work !== undefined) {
      const time = new AbortController();
      await within(pace.end, this.#settled(time.signal));
      time.abort();
      this.#end.abort();
      this.#wake.abort();
      await this.#work;
      const left = this.#waiting.size;
      if (left > 0) logger.warn({ hook: this.#name, left }, `hook ${this.#name} has yet to be told of ${left} events`);
    }
    let isClosed = false;
    await within(
      pace.end,
      hook.close().then(() => void (isClosed = true)),
    );
    if (!isClosed) logger.warn({ hook: this.#name }, `hook ${this.#name} does not close, and is left as it is`);
  }

  /** Waits until nothing waits, or there is no hope that it will soon be told. */
  async #settled(signal: AbortSignal): Promise<void> {
    const isHopeless = (): boolean => this.#isFailing || this.#lockedTries > LOCKED_TRIES;
    while (!signal.aborted && !isHopeless() && !this.#waiting.isEmpty) await pause(10, signal);
  }

  #wants({ name, severity }: ArchiveEvent): boolean {
    const { events, severity: least } = this.#options.config;
    return (events?.includes(name) ?? true) && isAtLeast(severity, least);
  }

  #apply(key: string, { state, send }: Folded): void {
    // In this order: a process that is killed in between tells twice, rather than never.
    if (send !== undefined) this.#keep(send);
    this.#told.set(key, state);
    if (state?.pending === undefined) this.#pending.delete(key);
    else this.#pending.add(key);
  }

  #tellDue(end: boolean): void {
    const { quiet } = this.#options.config;
    for (const key of this.#pending) {
      const state = this.#told.get(key);
      if (state === undefined) this.#pending.delete(key);
      else this.#apply(key, due(state, { now: Date.now(), quiet, end }));
    }
  }

  #keep(event: ArchiveEvent): void {
    this.#waiting.add(event);
    this.#go();
  }

  #go(): void {
    if (this.#end.signal.aborted) return;
    this.#wake.abort();
    this.#work ??= this.#run();
  }

  async #run(): Promise<void> {
    const { pace } = this.#options;
    const { signal } = this.#end;
    // What is kept below asks for this loop: it must be known by then, or there would be two.
    await Promise.resolve();
    while (!signal.aborted) {
      this.#wake = new AbortController();
      this.#tellDue(false);
      try {
        if (!this.#waiting.isEmpty) await this.#withLock(() => this.#tellAll(signal));
      } catch (error) {
        this.#options.logger.error({ error }, `telling hook ${this.#name} failed: ${reasonOf(error)}`);
      }
      const wake = AbortSignal.any([signal, this.#wake.signal]);
      if (this.#isLocked) this.#lockedTries += 1;
      else this.#lockedTries = 0;
      // A process that is not there for it looks when it has something to tell.
      const idle = this.#isLasting || this.#pending.size > 0 ? pace.look : NEVER;
      // Who has the lock for longer waits for the hook himself, and tells what is left to him.
      const locked = this.#lockedTries > LOCKED_TRIES ? pace.look : LOCKED;
      await pauseUnref(this.#waiting.isEmpty ? idle : locked, wake);
    }
  }

  /** Runs while no other process tells this hook. Without a folder there is no other one. */
  async #withLock(work: () => Promise<void>): Promise<void> {
    const { folder } = this.#options;
    let lock: SpoolLock | undefined;
    this.#isLocked = false;
    try {
      if (folder !== undefined) {
        makeShared(folder);
        lock = SpoolLock.acquire(folder, 'hook.lock');
      }
    } catch (error) {
      // What waits in memory is told without a folder too.
      if (isArchiveError(error, 'SPOOL_LOCKED')) {
        this.#isLocked = true;
        return;
      }
    }
    try {
      if (lock !== undefined) this.#waiting.tidy();
      await work();
    } finally {
      lock?.release();
    }
  }

  async #tellAll(signal: AbortSignal): Promise<void> {
    const { logger, pace, config } = this.#options;
    const backoff = new Backoff({ first: Math.min(pace.most, pace.retry * 2 ** config.retries), most: pace.most });
    while (!signal.aborted) {
      this.#tellDue(false);
      const waiting = this.#waiting.next();
      if (waiting === undefined) return;
      if (Date.now() - waiting.event.time > TOO_OLD) {
        this.#waiting.drop(waiting);
        this.#untold(waiting.event);
        continue;
      }
      const failure = await this.#tell(waiting, signal);
      if (signal.aborted) return;
      if (failure === undefined) {
        if (this.#isFailing) logger.info({ hook: this.#name }, `hook ${this.#name} can be told again`);
        this.#isFailing = false;
        backoff.reset();
        this.#waiting.tellDropped((dropped) => this.#options.make('hook.dropped', dropped));
        continue;
      }
      if (!this.#isFailing)
        logger.warn(
          { hook: this.#name, event: waiting.event.name, error: failure },
          `hook ${this.#name} cannot be told of ${waiting.event.name}, it is tried again: ${reasonOf(failure)}`,
        );
      this.#isFailing = true;
      await pauseUnref(backoff.next(), signal);
    }
  }

  /** A condition whose opening was not told after all is told by the next of its events, and its end to nobody who does not ask for it. */
  #untold({ condition, time }: ArchiveEvent): void {
    if (condition?.state !== 'open') return;
    const state = this.#told.get(condition.key);
    if (state?.told === 'open' && state.since === time) this.#told.set(condition.key, undefined);
  }

  /** Gives what went wrong, when a further try may help. */
  async #tell(waiting: WaitingEvent, signal: AbortSignal): Promise<unknown> {
    const { event } = waiting;
    try {
      await this.#try(event, { signal, wait: pauseUnref });
    } catch (error) {
      if (!isRefusal(error)) return error;
      this.#options.logger.error(
        { hook: this.#name, event: event.name, error },
        `hook ${this.#name} is not told of ${event.name}: ${reasonOf(error)}`,
      );
      this.#untold(event);
    }
    this.#waiting.remove(waiting);
    return undefined;
  }

  async #try(
    event: ArchiveEvent,
    { signal, wait }: { readonly signal: AbortSignal; readonly wait: typeof pause },
  ): Promise<void> {
    const { hook, config, pace, onDelivery } = this.#options;
    const { timeout, retries } = config;
    const tried = { hook: this.#name, event: event.name };
    for (let attempt = 0; ; attempt += 1) {
      try {
        await deliver(hook, event, { timeout, signal });
        onDelivery?.(tried);
        return;
      } catch (error) {
        onDelivery?.({ ...tried, failed: isArchiveError(error) ? error.code : String(error) });
        if (isRefusal(error) || attempt >= retries || signal.aborted) throw asHookError(error, this.#name, event);
      }
      await wait(pace.retry * 2 ** attempt, signal);
    }
  }
}

/** The longest that a timer can wait. */
const NEVER = 2 ** 31 - 1;

/** Waits without keeping the process alive: whoever needs the end of it waits for it. */
async function pauseUnref(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds).unref();
    signal.addEventListener('abort', end, { once: true });
  });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether no further try can help. A delivery that a hook cancelled, as by a time limit of its own, was refused by nobody. */
function isRefusal(error: unknown): boolean {
  return isArchiveError(error) && !error.retriable && error.code !== 'ABORTED';
}

function asHookError(error: unknown, name: string, event: ArchiveEvent): ArchiveError {
  // Nobody has cancelled the work that asks: that its hook did not answer is a failure.
  if (isArchiveError(error) && error.code !== 'ABORTED') return error;
  return new ArchiveError('HOOK_FAILED', `hook ${name} failed at ${event.name}: ${reasonOf(error)}`, { cause: error });
}
