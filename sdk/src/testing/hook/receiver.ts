/** What a receiver does with what comes: takes it, refuses it for good, fails for now, never answers, or cuts the connection. */
export type HookBehaviour = 'accept' | 'reject' | 'fail' | 'hang' | 'cut';

/** One delivery that the receiver has taken. */
export interface HookDelivery {
  /** The id of the event, where the protocol has a place for it. */
  readonly id?: string;
  /** All that came, decoded as the protocol says, so that the text of an event can be found in it. */
  readonly text: string;
  /**
   * All that is not text of the event: names of headers, recipients, names of fields, environment. Two events of one name give the same, whatever
   * their texts are (HOOK-06). Default: not compared.
   */
  readonly shape?: string;
}

/** A real receiver of the protocol on loopback: a server, or for a hook that runs programs a program. */
export interface HookReceiver {
  /** From now on; the first is `accept`. */
  behave(behaviour: HookBehaviour): void | Promise<void>;
  /** How many times something began to come, such as requests or runs, whatever became of it. */
  attempts(): number | Promise<number>;
  /** What it has taken, in order. */
  received(): readonly HookDelivery[] | Promise<readonly HookDelivery[]>;
  /** Ends it: nothing can be delivered any more. May be called twice. */
  close(): Promise<void>;
}
