/** Tells the configured hooks of events. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { HookConfig } from '../config/config.ts';
import { makeEvent } from '../contracts/event-table.ts';
import { throwIfAborted } from '../contracts/errors.ts';
import type { ArchiveEvent, ArchiveEvents, EventName, EventSink, GateName, Hook } from '../contracts/hook.ts';
import type { Logger } from '../contracts/plugin.ts';
import { Courier, PACE, type CourierPace, type HookDelivery } from './courier.ts';

export interface EventsOptions {
  readonly cluster: string;
  readonly hooks: readonly { readonly config: HookConfig; readonly hook: Hook }[];
  readonly logger: Logger;
  /** Where events wait that could not be told: a folder of the cluster. Without it, they are lost with the process. */
  readonly folder?: string;
  /** Ends the wait for a gate that has no signal of its own. */
  readonly signal?: AbortSignal;
  /** Told of every try to tell a hook. */
  readonly onDelivery?: (delivery: HookDelivery) => void;
  /** How long is waited; for tests. */
  readonly pace?: Partial<CourierPace>;
}

/** The events of one cluster, in one process. Nothing is read or opened before there is an event. */
export class Events {
  readonly #cluster: string;
  readonly #signal: AbortSignal | undefined;
  readonly #couriers: readonly { readonly courier: Courier; readonly isGate: boolean }[];

  constructor({ cluster, hooks, logger, folder, signal, onDelivery, pace }: EventsOptions) {
    this.#cluster = cluster;
    this.#signal = signal;
    this.#couriers = hooks.map(({ config, hook }) => ({
      isGate: config.policy === 'fail',
      courier: new Courier({
        config,
        hook,
        folder: folder === undefined ? undefined : join(folder, config.name),
        logger,
        pace: { ...PACE, ...pace },
        make: (name, data) => this.#event(name, data),
        ...(onDelivery === undefined ? {} : { onDelivery }),
      }),
    }));
  }

  /** Tells every hook that asks for it, beside the work: what cannot be told now is told later. */
  readonly emit: EventSink = (name, data) => {
    if (this.#couriers.length === 0) return;
    const event = this.#event(name, data);
    for (const { courier } of this.#couriers) courier.take(event);
  };

  /**
   * Tells of an event before the work that it announces. Waits for the hooks with the policy `fail` that ask for it, and rejects with the first
   * failure after all were told: then the work is not begun. The others are told as by {@link emit}. `ABORTED` when the signal, or that of
   * all events, fires before the hooks have answered.
   */
  readonly gate = async <Name extends GateName>(
    name: Name,
    data: ArchiveEvents[Name],
    { signal = this.#signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<void> => {
    if (this.#couriers.length === 0) return;
    const event = this.#event(name, data);
    const gates = this.#couriers.filter(({ isGate }) => isGate);
    for (const { courier, isGate } of this.#couriers) if (!isGate) courier.take(event);
    const results = await Promise.allSettled(gates.map(({ courier }) => courier.tellNow(event, signal)));
    const refused = results.find((result) => result.status === 'rejected');
    if (refused === undefined) return;
    // Whoever gave up has not been refused.
    throwIfAborted(signal, `asking the hooks about ${name}`);
    throw refused.reason;
  };

  /** Whether a hook was told, by this process or an earlier one, of a condition that this event would open, and not of its end. */
  hasTold<Name extends EventName>(name: Name, data: ArchiveEvents[Name]): boolean {
    const { condition } = this.#event(name, data);
    return condition !== undefined && this.#couriers.some(({ courier }) => courier.hasTold(condition.key));
  }

  /** For a process that goes on: it also tells what others have left. */
  start(): void {
    for (const { courier } of this.#couriers) courier.start();
  }

  /** Tells what can be told within a few seconds, leaves the rest to the next process, and closes the hooks. */
  async close(): Promise<void> {
    const results = await Promise.allSettled(this.#couriers.map(({ courier }) => courier.close()));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  #event<Name extends EventName>(name: Name, data: ArchiveEvents[Name]): ArchiveEvent<Name> {
    return makeEvent(name, data, { id: randomUUID(), time: Date.now(), cluster: this.#cluster, host: hostname() });
  }
}
