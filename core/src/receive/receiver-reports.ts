import { unlessAborted } from './backoff.ts';
import type { FromThread, Question, ThreadEvent } from './messages.ts';

/** How the receiver speaks to the thread that ships. */
export interface ReceiverPort {
  post(message: FromThread): void;
  ask(question: Question): Promise<unknown>;
}

/** What the receiver tells and asks the thread that ships. */
export class ReceiverReports {
  readonly #port: ReceiverPort;
  readonly #signal: AbortSignal;
  #state = '';

  /** `signal` ends the wait for an answer. */
  constructor(port: ReceiverPort, signal: AbortSignal) {
    this.#port = port;
    this.#signal = signal;
  }

  /** The state that was entered last. */
  get state(): string {
    return this.#state;
  }

  /** Shows a state; a new try in the same trouble is no change. */
  enter(state: string, message: string): void {
    if (state === this.#state) return;
    this.#state = state;
    this.event({ name: 'wal.state', data: { state, message } });
  }

  event(event: ThreadEvent): void {
    this.post({ type: 'event', event });
  }

  note(level: 'info' | 'warn', message: string): void {
    this.post({ type: 'note', level, message });
  }

  post(message: FromThread): void {
    this.#port.post(message);
  }

  ask(question: Question): Promise<unknown> {
    return unlessAborted(this.#signal, this.#port.ask(question), 'the receiver was stopped');
  }
}
