import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { exampleEvent, isArchiveError, type ArchiveEvent, type ErrorCode, type Hook } from 'pgark/contracts';
import type { LastingHandles } from './lasting-handles.ts';
import type { HookBehaviour, HookDelivery, HookReceiver } from './receiver.ts';

/** What the suite needs to know of a hook. */
export interface HookSuiteOptions<Receiver extends HookReceiver = HookReceiver> {
  /** Starts a receiver; called for each test. */
  readonly receiver: () => Promise<Receiver>;
  /** Makes the hook that delivers to it; called for each test. */
  readonly create: (receiver: Receiver) => Hook | Promise<Hook>;
  /** What the receiver can do; default everything. Tests of what it cannot are skipped. */
  readonly behaviours?: readonly HookBehaviour[];
  /** Whether the protocol has a place for the id of an event; default true. */
  readonly carriesId?: boolean;
  /**
   * Whether something is sent for this event; default for every one. A hook that lets some pass says which: for the others each `handle` is
   * one delivery.
   */
  readonly sends?: (event: ArchiveEvent) => boolean;
  /** Whether the text that people read is in what is sent; default true. A hook that sends signals, such as pings, says false. */
  readonly carriesText?: boolean;
  /** What `create` gives as secrets: in no error, also not encoded. */
  readonly secrets?: readonly string[];
  /** Texts that would do something at the receiver, such as `<!channel>`: events have them in their texts, and {@link HookDelivery.text} never has. */
  readonly active?: readonly string[];
  /** What the hook is known not to do, by the id of the clause. An id that does not exist is an error. */
  readonly knownGaps?: readonly { readonly id: string; readonly reason: string }[];
  /** Milliseconds for one test; default 30,000. */
  readonly timeout?: number;
  /** Milliseconds after which a call that must come back soon is said to hang; default 5000. */
  readonly patience?: number;
}

/** One promise of the contract, or a part of it, as a test. */
export interface HookClause {
  /** `HOOK-03/rejected`: the promise in `contracts/hook.ts`, and a name for the part. */
  readonly id: string;
  readonly title: string;
  /** What the receiver must be able to do. */
  readonly needs?: readonly HookBehaviour[];
  run(context: HookClauseContext): Promise<void>;
}

/** Thrown by a clause that cannot be tried here. */
export class HookClauseSkipped extends Error {}

/** Milliseconds in which what must not come would have come: a hook that is right never takes the longer for it. */
const STILL = 150;

export interface HookClauseOptions extends Omit<HookSuiteOptions, 'receiver' | 'create'> {
  readonly handles: LastingHandles;
}

/** What a clause works with. */
export class HookClauseContext {
  readonly hook: Hook;
  readonly receiver: HookReceiver;
  readonly options: HookClauseOptions;

  constructor(hook: Hook, receiver: HookReceiver, options: HookClauseOptions) {
    this.hook = hook;
    this.receiver = receiver;
    this.options = options;
  }

  /** The handles of hook and receiver. */
  get handles(): LastingHandles {
    return this.options.handles;
  }

  /** An event that the hook sends, with an id of its own: the first of those that make people act, else any. */
  event(): ArchiveEvent {
    const all = (['backup.failed', 'backup.finished', 'wal.gap', 'drill.failed', 'backup.started'] as const).map(
      (name): ArchiveEvent => exampleEvent(name, { id: crypto.randomUUID(), time: Date.now() }),
    );
    const event = all.find((one) => this.sends(one));
    if (event === undefined) throw new HookClauseSkipped('the hook sends none of the common events');
    return event;
  }

  sends(event: ArchiveEvent): boolean {
    return this.options.sends?.(event) ?? true;
  }

  /** Hands an event to the hook, and waits for it, but not for ever. */
  async handle(event: ArchiveEvent, signal: AbortSignal = new AbortController().signal): Promise<void> {
    await this.withoutHanging(this.hook.handle(event, { signal }), `handle of ${event.name}`);
  }

  /** Hands over what the receiver leaves without an answer, and waits until it has come there. */
  async handleHanging(
    signal: AbortSignal,
  ): Promise<{ readonly outcome: Promise<unknown>; readonly isEnded: () => boolean }> {
    await this.receiver.behave('hang');
    const before = await this.receiver.attempts();
    // Never rejects: it is looked at later.
    let ended = false;
    const outcome = this.hook
      .handle(this.event(), { signal })
      .then(
        () => undefined,
        (error: unknown) => error ?? new Error('rejected with nothing'),
      )
      .finally(() => (ended = true));
    await this.until(
      async () => (await this.receiver.attempts()) > before,
      'the receiver was not reached by an event that it would leave without an answer',
    );
    return { outcome, isEnded: () => ended };
  }

  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const end = performance.now() + this.patience;
    while (!(await condition())) {
      if (performance.now() > end) throw new assert.AssertionError({ message: what });
      await sleep(5);
    }
  }

  get patience(): number {
    return this.options.patience ?? 5000;
  }

  /** Gives what must not happen the time to happen. */
  async stillness(): Promise<void> {
    await sleep(STILL);
  }

  received(): Promise<readonly HookDelivery[]> {
    return Promise.resolve(this.receiver.received());
  }

  /** Asserts that exactly this many deliveries were taken, and stay so many; gives them. */
  async receivedExactly(count: number, what: string): Promise<readonly HookDelivery[]> {
    await this.until(
      async () => (await this.received()).length >= count,
      `${what}: the receiver has less than ${count}`,
    );
    const all = await this.received();
    assert.equal(all.length, count, `${what}: deliveries that the receiver has`);
    return all;
  }

  /** Asserts that a delivery is that of an event, as far as the protocol can tell. */
  assertIs(delivery: HookDelivery | undefined, event: ArchiveEvent): void {
    assert.ok(delivery !== undefined, `nothing was delivered for ${event.name}`);
    if (this.options.carriesId !== false)
      assert.equal(delivery.id, event.id, `the id of ${event.name} did not go along with it`);
    if (this.options.carriesText !== false && !delivery.text.includes(event.summary))
      throw new assert.AssertionError({
        message: `the summary of ${event.name} is not in what was sent`,
        actual: delivery.text.slice(0, 2000),
        expected: event.summary,
      });
  }

  /** Gives up on a promise that may hang. */
  async withoutHanging<Value>(promise: Promise<Value>, what: string): Promise<Value> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new assert.AssertionError({ message: `${what} hangs` })), this.patience);
    });
    try {
      return await Promise.race([promise, limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asserts that handling rejects, and gives the error. */
  async failureOf(event: ArchiveEvent, what: string): Promise<unknown> {
    try {
      await this.handle(event);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return error;
    }
    throw new assert.AssertionError({ message: `handle resolved although ${what}` });
  }

  /** Asserts that handling rejects with an error of this code, and gives the error. */
  async failsWith(code: ErrorCode, retriable: boolean, what: string): Promise<void> {
    const error = await this.failureOf(this.event(), what);
    if (!isArchiveError(error, code))
      throw new assert.AssertionError({
        message: `where ${what}: expected ${code}, got ${isArchiveError(error) ? error.code : String(error)}`,
        actual: error,
      });
    assert.equal(error.retriable, retriable, `where ${what}: whether a further try may help`);
  }
}
